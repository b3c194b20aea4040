"""How things look."""

import io
import time

import pytest

from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.surfaces.cli import render


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def table(file: io.StringIO, *, no_color: bool = False) -> str:
    """Print a table with a coloured word to the file."""
    render.print_table(
        render.console(no_color=no_color, file=file),
        ("NODE", "OUTCOME"),
        [("n1", "failed"), ("n2", "[bold]done")],
        render.OUTCOME_STYLES,
    )
    return file.getvalue()


@pytest.fixture(autouse=True)
def _colour_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


def test_colours_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[1;31m" in table(Terminal())
    assert "\x1b" not in table(io.StringIO())
    assert "\x1b[1;31m" not in table(Terminal(), no_color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in table(Terminal())


def test_text_from_outside_is_not_markup() -> None:
    assert "[bold]done" in table(io.StringIO())


def test_a_row_in_a_pipe_is_one_line() -> None:
    file = io.StringIO()
    render.print_table(render.console(file=file), ("WHY",), [("word " * 200,)])
    assert len(file.getvalue().splitlines()) == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-7200.0, "0.0 s"),
        (0.04, "0.0 s"),
        (4.25, "4.2 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 KiB"), (4096, "4 KiB"), (3 * 2**19, "1.5 MiB"), (380 * 2**20, "380 MiB"), (2**40, "1.0 TiB")],
)
def test_size(count: int, text: str) -> None:
    assert render.size(count) == text


def test_clock_has_the_date_on_another_day() -> None:
    assert len(render.clock(time.time())) == 8
    assert len(render.clock(time.time() - 3 * 86400)) == 19


def test_a_cloud_error_tells_its_class() -> None:
    value = render.error_value(CloudError("no", failure=FailureClass.QUOTA))
    assert value["error"]["failure"] == "quota"
