"""`slurm-powersave nodes expand|fold`."""

import json

from .conftest import Command


def test_expand_prints_one_name_a_line(command: Command) -> None:
    result = command("nodes", "expand", "demo-[2-3],demo-1")
    assert (result.exit_code, result.stdout) == (0, "demo-2\ndemo-3\ndemo-1\n")


def test_expand_refuses_names_that_are_not_configured(command: Command) -> None:
    result = command("nodes", "expand", "demo-[3-5]")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "demo-5: not configured" in result.stderr


def test_expand_any_needs_no_cluster_file(command: Command) -> None:
    result = command("nodes", "expand", "--any", "n[008-010]", cluster=None)
    assert result.stdout.split() == ["n008", "n009", "n010"]


def test_expand_json(command: Command) -> None:
    result = command("nodes", "expand", "--json", "demo-[1-2]")
    assert json.loads(result.stdout) == ["demo-1", "demo-2"]


def test_shell_metacharacters_are_refused(command: Command) -> None:
    for expression in ("$(id)", "n1;rm", "*", "@all", "n[0-999999999]", "n1\nn2"):
        result = command("nodes", "expand", "--any", expression)
        assert (result.exit_code, result.stdout) == (2, ""), expression


def test_fold_takes_names_and_expressions(command: Command) -> None:
    assert command("nodes", "fold", "demo-3", "demo-1", "demo-2").stdout == "demo-[1-3]\n"
    assert command("nodes", "fold", "--any", "n[1-2],n3").stdout == "n[1-3]\n"


def test_fold_reads_stdin_when_there_are_no_names(command: Command) -> None:
    assert command("nodes", "fold", "--json", stdin="demo-1\ndemo-2\n").stdout == '"demo-[1-2]"\n'


def test_an_error_is_json_with_json(command: Command) -> None:
    result = command("nodes", "expand", "--json", "demo-9")
    error = json.loads(result.stderr)["error"]
    assert result.stdout == ""
    assert error["exit_code"] == result.exit_code == 2
    assert "demo-9" in error["why"]
