"""What other machines say is taken only if it has the form that it must have."""

import re

import pytest

from slurm_powersave.model.outside_text import (
    BOOT_ID,
    LONGEST_NAME,
    NODE_NAME,
    SERVER_ID,
    VERSION,
    address,
    is_chosen_name,
    matching,
)

BOOT = "0c2f6a3e-7a55-4f53-9f05-4b8a0d2ad1c9"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (BOOT_ID, BOOT),
        (NODE_NAME, "demo-1"),
        (NODE_NAME, "n1.cluster.example.org"),
        (SERVER_ID, BOOT),
        (SERVER_ID, "42"),
        (VERSION, "22.05.8"),
        (VERSION, "1:2.0~rc1+dfsg-3"),
    ],
)
def test_what_has_the_form_is_taken_as_it_is(form: re.Pattern[str], said: str) -> None:
    assert matching(form, said) == said


@pytest.mark.parametrize("form", [BOOT_ID, NODE_NAME, SERVER_ID, VERSION])
@pytest.mark.parametrize(
    "said",
    [
        "",
        f"{BOOT}\n",
        f"{BOOT}\x00",
        f" {BOOT}",
        "x {{ lookup('pipe', 'id') }}",
        "-oProxyCommand=id",
        "../x",
        "a/b",
        "a b",
        "\x1b[2J",
        "²",
        "n\u0661",
        "x" * 5000,
        None,
        7,
        True,
        ["a"],
        {"a": "b"},
        b"a",
    ],
)
def test_anything_else_is_not(form: re.Pattern[str], said: object) -> None:
    assert matching(form, said) == ""


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("FE80::1", "fe80::1"),
        ("", ""),
        ("10.0.0.1\n", ""),
        ("10.0.0", ""),
        ("fe80::1%$(id)", ""),
        ("-oProxyCommand=id", ""),
        ("²", ""),
        (167772161, ""),
        (b"\n\0\0\1", ""),
        (None, ""),
    ],
)
def test_an_address_is_one_that_the_library_reads(said: object, taken: str) -> None:
    assert address(said) == taken


@pytest.mark.parametrize(
    "said",
    ["Rocky 9 \u2013 prod {{x}}", "ubuntu", "日本語", "тест", "--force", "../x", "$(id)", "👩‍🔬", "‌می‌شود"],
)
def test_people_of_a_cloud_may_choose_any_name_that_can_be_seen(said: str) -> None:
    assert is_chosen_name(said)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "a\nb",
        "a\x00",
        "\x1b]52;c;aGk=\x07",
        "a\x85b",
        "a\x9b2J",
        "a\u202eb",
        "a\u2028b",
        "\udcff",
        7,
        None,
        "x" * (LONGEST_NAME + 1),
    ],
)
def test_but_none_with_control_characters(said: object) -> None:
    assert not is_chosen_name(said)
