"""Our hostlists against Slurm's own: `scontrol show hostnames` is the referee."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm_powersave.model.errors import HostlistError
from slurm_powersave.model.hostlist import expand_any, fold

prefixes = st.from_regex(r"[a-z][a-z-]{0,3}[a-z]", fullmatch=True)


@st.composite
def ranges(draw: st.DrawFn) -> str:
    """Draw what may stand in brackets, padded or not."""
    items = []
    for _ in range(draw(st.integers(1, 3))):
        low = draw(st.integers(0, 120))
        width = draw(st.sampled_from([0, 0, 2, 4]))
        high = draw(st.integers(low, low + 12))
        item = f"{low:0{width}}"
        items.append(draw(st.sampled_from([item, f"{item}-{high:0{width}}", f"{item}-{high}"])))
    return ",".join(items)


@st.composite
def parts(draw: st.DrawFn) -> str:
    """Draw a name, or one with up to three bracket groups."""
    part = draw(prefixes)
    for _ in range(draw(st.integers(0, 3))):
        part += draw(st.sampled_from(["", "b", "-r"])) + f"[{draw(ranges())}]"
    if draw(st.integers(0, 9)) == 0:
        # Nothing may stand after the last bracket: ours and Slurm's refuse it alike.
        part += draw(st.sampled_from(["", "-ib", "7"]))
    return part


expressions = st.lists(parts(), min_size=1, max_size=4).map(",".join)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """scontrol wants a slurm.conf, even for this."""
    conf: Path = tmp_path_factory.mktemp("slurm") / "slurm.conf"
    conf.write_text("ClusterName=x\nSlurmctldHost=localhost\nNodeName=n1\nPartitionName=p Nodes=n1\n")
    return {"PATH": os.environ["PATH"], "SLURM_CONF": str(conf)}


def hostnames(expression: str, environment: dict[str, str]) -> list[str]:
    """Ask scontrol; bad input is exit code 0 and nothing on standard output."""
    argv = ["scontrol", "show", "hostnames", expression]
    run = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=20, check=True)
    return run.stdout.split()


def most_groups(expression: str) -> int:
    """Count the bracket groups of the part that has most."""
    outside = re.sub(r"\[[^\]]*\]", "[]", expression)
    return max(part.count("[]") for part in outside.split(","))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(expression=expressions)
def test_expand_as_scontrol(environment: dict[str, str], expression: str) -> None:
    theirs = hostnames(expression, environment)
    try:
        ours = list(expand_any(expression))
    except HostlistError:
        ours = []
    if most_groups(expression) > 2:
        # Slurm counts a1b1c1, a1b1c2, a2b1c1: the first group before the second.
        ours, theirs = sorted(ours), sorted(set(theirs))
    assert ours == list(dict.fromkeys(theirs))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(expressions=st.lists(parts(), min_size=1, max_size=3))
def test_scontrol_takes_what_we_fold(environment: dict[str, str], expressions: list[str]) -> None:
    names: set[str] = set()
    for expression in expressions:
        try:
            names |= set(expand_any(expression))
        except HostlistError:
            continue
    names |= {f"{name}-ib" for name in list(names)[:3]} | {"m7"}
    assert set(hostnames(fold(names), environment)) == names


@pytest.mark.parametrize(
    "expression", ["n[1-2]-ib", "a[1-2]b3", "n[2-1]", "n[]", "n[1-70000]", "n[1,]", "n[1-3:2]"]
)
def test_both_refuse(environment: dict[str, str], expression: str) -> None:
    assert hostnames(expression, environment) == []
    with pytest.raises(HostlistError):
        expand_any(expression)
