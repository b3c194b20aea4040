"""What a state holds, read from its file."""

import json
from pathlib import Path

import pytest

from slurm_powersave.adapters.terraform.base import State
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.model.errors import TerraformError

RESOURCES = [
    {"mode": "managed", "type": "x", "name": "a", "instances": [{"attributes": {"id": "1"}}]},
    {"mode": "managed", "type": "x", "name": "b", "instances": [{"index_key": 0, "attributes": {"id": "2"}}]},
    {
        "mode": "managed",
        "module": "module.m",
        "type": "x",
        "name": "c",
        "instances": [{"index_key": "k", "attributes": {"id": "3"}}, {"index_key": "l", "attributes": None}],
    },
    {"mode": "data", "type": "x", "name": "d", "instances": [{"attributes": {"id": "4"}}]},
]


def state(directory: Path, content: object) -> State:
    """A state with this content."""
    (directory / "terraform.tfstate").write_text(json.dumps(content))
    return State(directory, Command())


def test_what_it_holds_has_the_addresses_that_terraform_uses(tmp_path: Path) -> None:
    held = state(tmp_path, {"resources": RESOURCES}).held()
    assert [(one.address, one.attributes.get("id")) for one in held] == [
        ("x.a", "1"),
        ("x.b[0]", "2"),
        ('module.m.x.c["k"]', "3"),
        ('module.m.x.c["l"]', None),
    ]


def test_no_state_holds_nothing(tmp_path: Path) -> None:
    assert State(tmp_path, Command()).held() == []
    (tmp_path / "terraform.tfstate").touch()
    assert State(tmp_path, Command()).ids() == frozenset()


@pytest.mark.parametrize("odd", [[], {"resources": 3}, {"resources": ["x"]}])
def test_what_is_no_state_is_told(tmp_path: Path, odd: object) -> None:
    with pytest.raises(TerraformError, match="state can't be read"):
        state(tmp_path, odd).held()
