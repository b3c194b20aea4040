"""Terraform's argv and its -json output."""

import json
from pathlib import Path

import pytest

from slurm_powersave.adapters.terraform.command import Command, diagnostics, failure_of, parse_line
from slurm_powersave.model.errors import FailureClass, MissingToolError

COMMAND = Command()


def test_a_plan_names_its_targets_and_where_it_goes() -> None:
    argv = COMMAND.plan(Path("/runs/1/tfplan"), ['x.node["n1"]', 'x.node["n2"]'], refresh=False)
    assert argv[:2] == ["terraform", "plan"]
    assert {"-json", "-out=/runs/1/tfplan", "-refresh=false", "-input=false"} <= set(argv)
    assert [word for word in argv if word.startswith("-target")] == [
        '-target=x.node["n1"]',
        '-target=x.node["n2"]',
    ]
    assert "-destroy" not in argv


def test_a_plan_names_what_is_to_be_made_anew() -> None:
    argv = COMMAND.plan(Path("/p"), refresh=True, replace=['module.m.x.login["a"]'])
    assert '-replace=module.m.x.login["a"]' in argv
    assert not [word for word in COMMAND.plan(Path("/p"), refresh=True) if word.startswith("-replace")]


def test_a_saved_plan_is_applied_and_nothing_is_asked() -> None:
    argv = COMMAND.apply(Path("/runs/1/tfplan"), 7)
    assert argv[:2] == ["terraform", "apply"] and argv[-1] == "/runs/1/tfplan"
    assert {"-json", "-parallelism=7", "-input=false"} <= set(argv)


def test_a_typo_is_no_command() -> None:
    from slurm_powersave.adapters.terraform.command import _Argv

    with pytest.raises(AttributeError):
        _Argv().aply()


def test_the_environment_keeps_credentials_and_drops_terraforms_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLOUD", "mine")
    monkeypatch.setenv("TF_CLI_ARGS_apply", "-target=x")
    monkeypatch.setenv("TF_VAR_nodes", "{}")
    monkeypatch.setenv("TF_PLUGIN_CACHE_DIR", "/var/cache/terraform")
    env = Command(cli_config=Path("/etc/terraformrc")).env()
    assert env["OS_CLOUD"] == "mine" and env["TF_CLI_CONFIG_FILE"] == "/etc/terraformrc"
    assert "TF_CLI_ARGS_apply" not in env and "TF_VAR_nodes" not in env and env["TF_INPUT"] == "0"
    assert env["TF_PLUGIN_CACHE_DIR"] == "/var/cache/terraform"


def event(**fields: object) -> str:
    """A line of -json output."""
    return json.dumps({"@level": "error", "@message": "x"} | fields)


def diagnostic(**fields: object) -> str:
    """A diagnostic as Terraform prints it."""
    return event(type="diagnostic", diagnostic={"severity": "error"} | fields)


def test_diagnostics_keep_address_and_text() -> None:
    lines = [
        event(type="version", terraform="1.11.4"),
        diagnostic(
            summary="Error creating server", detail="Quota exceeded\n for cores", address='x.node["n1"]'
        ),
        diagnostic(severity="warning", summary="Deprecated"),
        diagnostic(summary="Error acquiring the state lock", detail=""),
        "panic: runtime error",
        "[1, 2]",
        "",
    ]
    assert diagnostics(lines) == [
        ('x.node["n1"]', "Error creating server: Quota exceeded for cores"),
        ("", "Error acquiring the state lock"),
    ]


def test_a_state_of_a_server_in_which_nothing_can_be_planned_is_explained() -> None:
    said = "Invalid power_state for instance 5f-0c: VERIFY_RESIZE"
    ((_, text),) = diagnostics([diagnostic(summary=said)])
    assert "a migration waits to be confirmed" in text and "migration confirm 5f-0c" in text and said in text
    ((_, text),) = diagnostics([diagnostic(summary="Invalid power_state for instance 5f: REBUILD")])
    assert "try again" in text


@pytest.mark.parametrize("line", ["", "null", "3", '"x"', "[]", "{", "panic: x", "\ufffd"])
def test_what_is_no_event_is_an_empty_one(line: str) -> None:
    assert parse_line(line) == {}


def test_a_failure_is_classed_by_the_clouds_words() -> None:
    assert failure_of("Quota exceeded for cores").failure is FailureClass.QUOTA
    assert failure_of("").text == "no reason given"


def script(tmp_path: Path, text: str) -> Command:
    """A terraform that prints a text."""
    path = tmp_path / "terraform"
    path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{text}\nEOF\n")
    path.chmod(0o755)
    return Command(str(path))


@pytest.mark.parametrize("version", ["1.5.0", "1.11.4", "2.0.0-beta1"])
def test_versions_that_are_new_enough(tmp_path: Path, version: str) -> None:
    assert script(tmp_path, json.dumps({"terraform_version": version})).check() == version


@pytest.mark.parametrize("text", ['{"terraform_version": "1.4.6"}', "Terraform v1.11", "{}", "[]"])
def test_one_that_is_too_old_or_tells_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(MissingToolError):
        script(tmp_path, text).check()


def test_one_that_is_not_there() -> None:
    with pytest.raises(MissingToolError, match="no-such-terraform"):
        Command("no-such-terraform").check()
