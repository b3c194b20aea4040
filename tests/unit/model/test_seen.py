"""The numbers of what was seen of a node: their order, and what a node that does not change costs."""

import pytest

from slurm_powersave.model.seen import Seen


@pytest.mark.parametrize("kinds", [("registered",), ("registered", "used"), ("pushed",), ("called",)])
def test_a_node_that_stays_as_it_is_is_not_written_again(kinds: tuple[str, ...]) -> None:
    first = Seen().raised(1, *kinds)
    assert all(getattr(first, kind) == 1 for kind in kinds)
    assert first.raised(2, *kinds).raised(3, *kinds) == first


def test_what_is_seen_together_is_of_the_same_moment() -> None:
    idle = Seen().raised(1, "registered")
    busy = idle.raised(2, "registered", "used")
    assert (busy.registered, busy.used) == (2, 2)
    assert busy.raised(3, "registered", "used") == busy


def test_a_call_is_later_than_what_was_seen_before_it() -> None:
    seen = Seen().raised(1, "registered", "used").raised(2, "called")
    assert seen.called > seen.used == seen.registered
    assert seen.raised(3, "registered", "used").used == 3
