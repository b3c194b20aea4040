"""Every mistake of a cluster file in one report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.config.sections import Requirement
from slurm_powersave.config.settings import load, report
from slurm_powersave.model.errors import ConfigError

CASES = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/cluster_file_mistakes.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_each_mistake_is_reported(case: dict[str, Any], write: Callable[..., Path]) -> None:
    file = write(case.get("set"), tuple(case.get("remove", ())))
    mistakes = report(file)
    assert sorted(mistake.key for mistake in mistakes) == sorted(key for key, _, _ in case["expect"])
    for key, wrong, right in case["expect"]:
        (mistake,) = [mistake for mistake in mistakes if mistake.key == key]
        assert mistake.file == str(file)
        assert wrong in mistake.wrong
        assert right in mistake.right
        assert mistake.right
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert caught.value.exit_code == 2
    for mistake in mistakes:
        assert str(mistake) in str(caught.value)


def test_a_right_file_has_none(write: Callable[..., Path]) -> None:
    assert report(write()) == []


def test_flavors_by_requirement_in_all_forms(write: Callable[..., Path]) -> None:
    asked = {"cores": 8, "ram": "30GB", "disk": "1T", "match": "^c"}
    file = write({"node_pools[0].flavors": [asked, "m30720c8s100", "small"]})
    assert report(file) == []
    assert load(file).node_pools[0].flavors == (
        Requirement(cores=8, ram=30720, disk=1024, match="^c"),
        "m30720c8s100",
        "small",
    )


@pytest.mark.parametrize(
    ("text", "line", "wrong"),
    [
        ("a: [1\nb: 2\n", 2, "YAML: expected ',' or ']'"),
        ("a: 1\n\tb: 2\n", 2, "YAML: found character '\\t'"),
        ("a: 1\nb: !vault x\n", 2, "the tag '!vault'"),
        ("? [1, 2]\n: 3\n", 1, "YAML: found unhashable key"),
        ("- 1\n", 1, "is not a mapping"),
        ("--- 1\n--- 2\n", 2, "YAML:"),
        ("", 0, "is empty"),
        ("# all commented out\n", 0, "is empty"),
        ("a: \x01\n", 0, "YAML: unacceptable character"),
        ("a: &a [*a]\n", 0, "YAML: maximum recursion"),
    ],
)
def test_what_is_no_yaml_is_reported_with_its_line(
    text: str, line: int, wrong: str, write: Callable[..., Path]
) -> None:
    (mistake,) = report(write(text))
    assert (mistake.line, mistake.key) == (line, "")
    assert wrong in mistake.wrong
    assert mistake.right


def test_what_is_no_text_is_reported(directory: Path) -> None:
    file = directory / "cluster.yml"
    file.write_bytes(b"a: \xff\n")
    assert "not UTF-8" in report(file)[0].wrong
    assert "can't be read (No such file or directory)" in report(directory / "none.yml")[0].wrong
    assert "can't be read (Is a directory)" in report(directory)[0].wrong


def test_keys_given_twice_are_reported_with_both_lines(write: Callable[..., Path]) -> None:
    text = write().read_text() + "mounts: []\nlogin: {}\nmounts:\n- /mnt/x\n"
    found = {mistake.key: mistake for mistake in report(write(text))}
    last = text.count("\n")
    assert found["mounts"].wrong == f"given twice, first in line {last - 3}"
    assert found["mounts"].line == last - 1
    assert "keep one" in found["mounts"].right
    assert "given twice" in found["login"].wrong


def test_lines_are_those_of_the_keys_and_the_order_is_the_file_s(write: Callable[..., Path]) -> None:
    file = write({"zzz": 1, "node_pools[1].zone_": "x", "login.nam": "x"})
    lines = file.read_text().splitlines()
    mistakes = report(file)
    assert [mistake.key for mistake in mistakes] == ["login.nam", "node_pools[1].zone_", "zzz"]
    for mistake, key in zip(mistakes, ("nam:", "zone_:", "zzz:"), strict=True):
        assert key in lines[mistake.line - 1]
        assert mistake.place == f"{file}:{mistake.line}"
        assert str(mistake).startswith(f"{file}:{mistake.line}: {mistake.key}: ")


def test_a_missing_key_has_the_line_of_what_it_is_missing_in(write: Callable[..., Path]) -> None:
    file = write(remove=("node_pools[1].image",))
    (mistake,) = report(file)
    assert "name: big" in file.read_text().splitlines()[mistake.line - 1]
