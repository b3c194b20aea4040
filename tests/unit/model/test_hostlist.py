"""The gate before hostlists: what gets through, what is refused, and that the good part is served."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.model.errors import HostlistError
from slurm_powersave.model.hostlist import (
    CAP,
    MAX_LENGTH,
    Refusal,
    expand,
    expand_any,
    fold,
    natural,
    split,
)

KNOWN = [f"n{number}" for number in range(1, 5)]

prefixes = st.from_regex(r"[a-z][a-z-]{0,4}[a-z]", fullmatch=True)
names = st.one_of(
    st.builds(lambda head, number: f"{head}{number}", prefixes, st.integers(0, 10**6)),
    st.builds(lambda head, number: f"{head}{number:03}", prefixes, st.integers(0, 999)),
    st.builds(lambda head, number: f"{head}{number}-ib", prefixes, st.integers(0, 30)),
    st.builds(
        lambda head, rack, number: f"{head}{rack}b{number}", prefixes, st.integers(0, 9), st.integers(0, 9)
    ),
    prefixes,
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("n1", ["n1"]),
        ("  n1\n", ["n1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[008-011]", ["n008", "n009", "n010", "n011"]),
        ("n[8-011]", ["n8", "n9", "n10", "n11"]),
        ("a[1-2]b[3-4]", ["a1b3", "a1b4", "a2b3", "a2b4"]),
        ("n[1][2]", ["n12"]),
        ("n1,n[3-4],m7", ["n1", "n3", "n4", "m7"]),
        ("n1, n2", ["n1", "n2"]),
        ("n1,,n2,", ["n1", "n2"]),
        ("n2,n1,n[1-2]", ["n2", "n1"]),
        ("n[2,1,2]", ["n2", "n1"]),
        ("d-a,d_b,d.c", ["d-a", "d_b", "d.c"]),
        ("n[999999999999999998-999999999999999999]", ["n999999999999999998", "n999999999999999999"]),
    ],
)
def test_expands_as_slurm_does_but_without_duplicates(expression: str, expected: list[str]) -> None:
    assert list(expand_any(expression)) == expected


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ("n[1-2]-ib", "nothing after the last bracket"),
        ("a[1-2]b3", "nothing after the last bracket"),
        ("n[1-2", "not closed"),
        ("n1]", "not closed"),
        ("n[[1-2]]", "not a node name"),
        ("n[2-1]", "backwards"),
        ("n[]", "not a node name"),
        ("n[-1]", "not a list of ranges"),
        ("n[1--2]", "not a list of ranges"),
        ("n[1-2,]", "not a list of ranges"),
        ("n[1-" + "9" * 19 + "]", "not a list of ranges"),
        ("[1-2]", "not a node name"),
        ("$(id)", "the character $"),
        ("n1;rm", "the character ;"),
        ("n 1", "the character  "),
        ("*", "the character *"),
        ("@all", "the character @"),
        ("--help", "not a node name"),
        ("-n1", "not a node name"),
        ("nä1", r"the character \xe4"),
        ("n\u0661", r"the character \u0661"),
        ("n1\nn2", r"the character \n"),
        ("n1\x00", r"the character \x00"),
        ("n[1-65537]", "65,537 names"),
        ("n[0-999999999]", "1,000,000,000 names"),
        ("n[0-999][0-999]", "1,000,000 names"),
        ("n" + "[1]" * 9, "bracket groups"),
        ("n" + "[1]" * 2000, "bracket groups"),
    ],
)
def test_a_refused_part_is_named_and_leaves_the_others_alone(part: str, why: str) -> None:
    started = time.monotonic()
    expansion = split(f"n1,{part},n[3-4]" if "\n" not in part[-1:] else part, KNOWN)
    if "[" in part and part.count("[") != part.count("]"):
        # An open bracket swallows the commas after it; what stands before it is still served.
        assert expansion.nodes[:1] == ("n1",)
    else:
        assert expansion.nodes == ("n1", "n3", "n4")
    (refusal,) = expansion.refused
    assert why in refusal.why
    assert refusal.part.isascii()
    assert refusal.part.isprintable()
    assert len(refusal.part) <= 80
    with pytest.raises(HostlistError, match="hostlist refused"):
        expand(f"n1,{part}", KNOWN)
    with pytest.raises(HostlistError):
        expand_any(f"n1,{part}")
    assert time.monotonic() - started < 0.5


def test_unknown_nodes_are_refused_together_and_known_ones_served() -> None:
    expansion = split("n[1-6],x9,n[2-3]", KNOWN)
    assert expansion.nodes == ("n1", "n2", "n3", "n4")
    assert expansion.refused == (Refusal("n[5-6]", "not configured"), Refusal("x9", "not configured"))


@pytest.mark.parametrize("expression", ["", "  \n", ",", " , ,"])
def test_nothing_is_refused_as_nothing(expression: str) -> None:
    expansion = split(expression, KNOWN)
    assert expansion.nodes == ()
    assert "names no node" in expansion.refused[0].why
    with pytest.raises(HostlistError):
        expand_any(expression)


def test_the_cap_counts_the_whole_expression() -> None:
    expansion = split("n[1-4],x[0-65535],y[0-65535],n2", KNOWN)
    assert expansion.nodes == ("n1", "n2", "n3", "n4")
    assert [refusal.part for refusal in expansion.refused] == ["x[0-65535]", "y[0-65535]"]
    with pytest.raises(HostlistError, match="more than 10 names"):
        expand_any("n[1-6],n[1-6]", cap=10)


def test_a_cluster_larger_than_the_cap_is_not_too_large() -> None:
    known = {f"n{number}" for number in range(CAP + 10)}
    assert len(expand(f"n[0-65534],n[65535-{CAP + 9}]", known)) == CAP + 10


def test_long_input_is_answered_at_once() -> None:
    started = time.monotonic()
    assert "longer than" in split("n1," * MAX_LENGTH, KNOWN).refused[0].why
    assert split("n[" + "1-2," * 30_000 + "3]", KNOWN).nodes == ("n1", "n2", "n3")
    assert split(",".join(f"q{number}" for number in range(20_000)), KNOWN).nodes == ()
    assert time.monotonic() - started < 5


def test_errors_say_what_to_do() -> None:
    with pytest.raises(HostlistError) as caught:
        expand("n9", KNOWN)
    assert "n9: not configured" in str(caught.value)
    assert "--any" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("given_names", "expected"),
    [
        ([], ""),
        (["n1"], "n1"),
        (["n2", "n10", "n1", "n1", "n9"], "n[1-2,9-10]"),
        (["n08", "n09", "n10"], "n[08-10]"),
        (["n1-ib", "n2-ib"], "n1-ib,n2-ib"),
        (["a1b3", "a2b3", "a1b4"], "a1b[3-4],a2b3"),
        (["d-a", "d-b"], "d-a,d-b"),
    ],
)
def test_folds_into_what_slurm_accepts(given_names: list[str], expected: str) -> None:
    assert fold(given_names) == expected


@pytest.mark.parametrize("name", ["", "n1,n2", "n[1-2]", "$(id)", "-n", "n1\n"])
def test_fold_takes_names_only(name: str) -> None:
    with pytest.raises(HostlistError, match="not a node name"):
        fold(["n1", name])


@given(st.lists(names, max_size=40))
def test_fold_and_expand_are_inverse(given_names: list[str]) -> None:
    folded = fold(given_names)
    assert (set(expand_any(folded)) if folded else set()) == set(given_names)
    assert folded == "" or set(expand(folded, given_names)) == set(given_names)


@given(st.text(max_size=60))
def test_any_text_is_served_or_refused_never_more(text: str) -> None:
    expansion = split(text, KNOWN)
    assert set(expansion.nodes) <= set(KNOWN)
    assert expansion.nodes or expansion.refused


@given(st.text(alphabet="n12[]-,;$ \n", max_size=30))
def test_what_is_expanded_holds_only_plain_names(text: str) -> None:
    try:
        found = expand_any(text)
    except HostlistError as error:
        assert error.why
    else:
        assert all(name.replace("-", "").isalnum() for name in found)


def test_natural_order() -> None:
    assert sorted(["n10", "n2", "m3", "n1"], key=natural) == ["m3", "n1", "n2", "n10"]
