"""Versions of Slurm are read as numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.model.slurm_version import Version


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("22.05", (22, 5)),
        ("22.05.8", (22, 5)),
        ("26.05.5", (26, 5)),
        ("24.11.0-1", (24, 11)),
        ("26.05.0-0rc1", (26, 5)),
        ("26.05.0rc1", (26, 5)),
        ("9.9", (9, 9)),
        ("26.11", (26, 11)),
        ("27.05.1", (27, 5)),
    ],
)
def test_versions(text: str, numbers: tuple[int, int]) -> None:
    found = Version.of(text)
    assert (found.year, found.month, found.text) == (*numbers, text)


@pytest.mark.parametrize(
    "text",
    ["", "22", "22.", ".05", "latest", "v22.05", "22.05.", "22.05 ", "22.05\n", "22.058", "22.05.8.1",
     "24.50", "22.00", "-22.05", "22,05", "2022.05", "22.05-", "22.05; rm", "\u0662\u0662.05", "slurm 22.05"],
)  # fmt: skip
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no version of Slurm; two numbers in quotes such as '22\.05'"):
        Version.of(text)


@given(st.text(max_size=30))
def test_any_text_is_a_version_or_a_value_error(text: str) -> None:
    try:
        found = Version.of(text)
    except ValueError:
        return
    assert str(Version.of(str(found))) == str(found)


def test_only_year_and_month_count() -> None:
    assert Version.of("22.05.8") == Version.of("22.05") == Version.of("22.05.0-0rc1")
    assert Version.of("9.9") < Version.of("22.05") < Version.of("22.11") < Version.of("23.02.1")
    assert str(Version.of("22.05.8")) == "22.05"
    assert str(Version.of("9.9")) == "09.09"
