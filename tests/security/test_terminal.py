"""What somebody outside says reaches terminal, log and journal as text: nothing in it acts there."""

import io
import json
import logging
import sys
import threading
import unicodedata
from dataclasses import replace

import pytest
import typer

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.commands import preflight
from slurm_powersave.model.errors import CloudError, FailureClass, SlurmError, TerraformError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Operation, Request, Server, SlurmNode, SlurmSnapshot
from slurm_powersave.model.printable import json_text, paragraph, printable, printable_lines
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.surfaces.cli import log, render, terminal
from slurm_powersave.surfaces.cli.follow import events
from slurm_powersave.testing.site import put_in
from tests.security.attacks import MARKUP, PLAIN, TERMINAL, acting
from tests.unit.surfaces.conftest import Command, cluster_file, command, journal

__all__ = ["cluster_file", "command", "journal"]
EACH = pytest.mark.parametrize("text", TERMINAL.values(), ids=TERMINAL.keys())
EACH_PLAIN = pytest.mark.parametrize("text", (MARKUP | PLAIN).values(), ids=(MARKUP | PLAIN).keys())


# The function


@EACH
def test_what_acts_is_shown_as_an_escape(text: str) -> None:
    assert acting(printable(text)) == []
    assert "\\" in printable(text)
    assert acting(printable_lines(text), own="\n") == []
    assert json.loads(json_text({text: [text]}, indent=2)) == {text: [text]}
    assert acting(json_text({text: [text]}, indent=2), own="\n") == []


@EACH_PLAIN
def test_nothing_else_is_changed(text: str) -> None:
    assert printable(text) == printable_lines(text) == text
    assert json.loads(json_text(text)) == text
    if text in PLAIN.values():
        assert json_text(text) == f'"{text}"'


def test_by_what_unicode_says_of_each_character() -> None:
    acts = {"Cc", "Cs", "Zl", "Zp"}
    stay = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs"}
    stay |= {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So"}
    for code in range(sys.maxunicode + 1):
        one = chr(code)
        if (kind := unicodedata.category(one)) in acts:
            assert printable(one) != one, hex(code)
        elif kind in stay:
            assert printable(one) == one, hex(code)


def test_a_text_of_several_lines_keeps_its_own_line_ends() -> None:
    assert printable_lines("a\r\nb\n\tc\rd") == "a\nb\n\tc\\rd"
    assert paragraph("a\nslurm-powersave: done\n  c") == "a\n  slurm-powersave: done\n  c"


# The log


class Written:
    """A logger with the engine's formatter, apart from all others: xdist can't carry every text."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(log.PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
        self.log = logging.Logger("apart")
        self.log.addHandler(handler)

    @property
    def text(self) -> str:
        return self.stream.getvalue()


@pytest.fixture
def written() -> Written:
    return Written()


@EACH
def test_a_record_is_one_line(written: Written, text: str) -> None:
    written.log.error("spool: %s refused: %s", text, SlurmError(text, where=text, why=text, todo=text))
    written.log.error(text.replace("%", "%%"))
    assert acting(written.text, own="\n") == []
    assert written.text.count("\n") == 2


@EACH
def test_a_traceback_looks_like_nothing_else(written: Written, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        written.log.exception("unexpected %s", text, stack_info=True)
    assert acting(written.text, own="\n") == []
    first, *rest = written.text.splitlines()
    assert "ERROR unexpected" in first and rest
    assert all(line.startswith("  ") for line in rest)


@EACH_PLAIN
def test_the_log_keeps_what_is_text(written: Written, text: str) -> None:
    written.log.warning("node=%s", text)
    assert written.text.endswith(f"WARNING node={text}\n")


@EACH
def test_the_engine_and_the_commands_log_so(
    command: Command, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """The command's warnings go by no handler of ours."""
    assert command("nodes", "expand", "n1", "--any").exit_code == 0
    assert isinstance(logging.lastResort and logging.lastResort.formatter, log.PrintableFormatter)
    made: list[logging.Handler] = []
    monkeypatch.setattr(logging, "basicConfig", lambda *, handlers, level: made.extend(handlers))
    log.set_up(logging.INFO)
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
    assert acting(made[0].format(record)) == []


@EACH
def test_an_error_that_nobody_expected(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    log.for_this_process()
    logging.captureWarnings(False)

    def work() -> None:
        raise ValueError(text)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    said = capsys.readouterr().err
    assert "ValueError" in said and acting(said, own="\n") == []


# What commands print


def told(journal: SqliteJournal, text: str) -> Operation:
    """An operation that has failed for the reason that somebody outside chose."""
    request = Request("r1", Mode.RESUME, "demo-2", 1000.0)
    journal.add_request(request, 1000.0)
    operation = journal.new_operation("r1", "demo-2", Mode.RESUME, "queued", 1000.0)
    journal.plan_request("r1", [operation], [(text, text)], 1000.0)
    failed = replace(operation, failure=FailureClass.NODE_LOCAL, text=f"Ansible: {text}")
    journal.save_operation(replace(failed, outcome="failed", since=1001.0))
    return failed


def in_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tables drawn as on a terminal without colours."""
    monkeypatch.setenv("TERM", "xterm-256color")
    real = render.console
    monkeypatch.setattr(
        render, "console", lambda **kwargs: _as_terminal(real(**(kwargs | {"no_color": True})))
    )


def _as_terminal(console: object) -> object:
    console._force_terminal = True  # type: ignore[attr-defined]
    console._color_system = None  # type: ignore[attr-defined]
    return console


@pytest.mark.parametrize("drawn", [False, True], ids=["pipe", "terminal"])
@EACH
def test_history(
    command: Command, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, text: str, drawn: bool
) -> None:
    if drawn:
        in_terminal(monkeypatch)
    told(journal, text)
    result = command("history")
    assert "failed" in result.stdout and acting(result.stdout, own="\n") == []
    found = command("history", "--json")
    assert acting(found.stdout, own="\n") == []
    assert json.loads(found.stdout)[0]["text"] == f"Ansible: {printable(text)}"


@EACH
def test_what_the_journal_holds_is_harmless_for_whoever_reads_it(journal: SqliteJournal, text: str) -> None:
    told(journal, text)
    assert acting(journal.history()[0].text) == []
    assert [acting(word) for word in journal.refusals("r1")[0]] == [[], []]


@EACH
def test_follow_and_wait(command: Command, journal: SqliteJournal, text: str) -> None:
    operation = journal.operations_of("r1") or [told(journal, text)]
    ended = replace(operation[0], outcome="failed", text=text, phases=journal.history()[0].phases)
    capture = io.StringIO()
    stdout, sys.stdout = sys.stdout, capture
    try:
        render.print_lines(event.line() for event in events(ended))
        render.print_json_lines(event.value() for event in events(ended))
    finally:
        sys.stdout = stdout
    assert acting(capture.getvalue(), own="\n") == []
    assert len(capture.getvalue().splitlines()) == 2 * len(ended.phases)


class Parts:
    """A Slurm and a cloud that say one text wherever they may."""

    def __init__(self, text: str) -> None:
        self.text, self.fails = text, False

    def snapshot(self, *_: object) -> SlurmSnapshot:
        if self.fails:
            raise SlurmError(self.text, where=self.text, why=self.text)
        flags = frozenset({"IDLE", "DRAIN"})
        nodes = {f"demo-{n}": SlurmNode(f"demo-{n}", flags, self.text, self.text) for n in range(1, 5)}
        return SlurmSnapshot(0.0, nodes)

    def running_version(self) -> Version:
        raise SlurmError(self.text, where=self.text, why=self.text)

    def flavors(self) -> dict[str, object]:
        return {}

    def servers(self) -> list[Server]:
        if self.fails:
            raise CloudError(self.text, where=self.text, why=self.text, todo=self.text)
        tags = frozenset({"node=demo-1"})
        return [Server("s1", "demo-1", self.text, image=self.text, tags=tags, fault=self.text)]


@pytest.mark.parametrize("fails", [False, True], ids=["answers", "refuses"])
@pytest.mark.parametrize("drawn", [False, True], ids=["pipe", "terminal"])
@EACH
def test_status(
    command: Command,
    journal: SqliteJournal,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    drawn: bool,
    fails: bool,
) -> None:
    if drawn:
        in_terminal(monkeypatch)
    outside = Parts(text)
    outside.fails = fails
    put_in(monkeypatch.setattr, slurm=outside, clouds={"local": outside})
    for argv in (("status",), ("status", "--json")):
        result = command(*argv)
        assert result.exit_code == 0, result.stderr
        assert acting(result.stdout + result.stderr, own="\n") == []


@EACH
def test_errors(command: Command, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def fails(cluster: object) -> None:
        raise TerraformError(text, where=text, why=text, todo=text)

    monkeypatch.setattr(preflight, "look", fails)
    for argv in (("check",), ("check", "--json")):
        result = command(*argv)
        assert result.exit_code == 5
        assert acting(result.stdout + result.stderr, own="\n") == []
    assert all(
        line.startswith(("slurm-powersave: ", "  ", "{")) for line in result.stderr.splitlines() if line
    )


@EACH_PLAIN
def test_text_of_other_scripts_and_markup_is_printed_as_it_is(
    command: Command, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    told(journal, text)
    assert text in command("history").stdout
    in_terminal(monkeypatch)
    drawn = command("history").stdout
    assert "[" not in text or text.split("]")[0] in "".join(drawn.split())
    assert json.loads(command("history", "--json").stdout)[0]["text"] == f"Ansible: {text}"


@EACH
def test_a_question(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """On a terminal; the names of images are the cloud's."""
    asked: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", lambda question, **_: asked.append(question))
    terminal.confirm(f"Delete image {text}?", False)
    assert [acting(question) for question in asked] == [[]]
