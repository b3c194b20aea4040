"""What the history keeps of the cluster file."""

import pytest

from slurm_powersave.decide.commands.file_diff import difference, shown


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("ansible_become_pass: hidden1", "ansible_become_pass: (not shown)"),
        ("site_api_token: hidden1  # why", "site_api_token: (not shown)"),
        ("'site_secret' : hidden1", "'site_secret' : (not shown)"),
        ("  - db_password: hidden1", "  - db_password: (not shown)"),
        ("site: {user: x, password: hidden1, more: hidden1}", "site: {user: x, password: (not shown)"),
        ("site_secrets:\n  a: hidden1\n\n  b:\n    - hidden1\nnext: 1", "site_secrets: (not shown)\nnext: 1"),
        ("site_private_key: |\n  hidden1\nnext: 1", "site_private_key: (not shown)\nnext: 1"),
        ("# the password: hidden1", "# the password: (not shown)"),
    ],
)
def test_values_of_secrets_are_hidden(line: str, kept: str) -> None:
    assert shown(line) == f"{kept}\n" and "hidden1" not in shown(line)


@pytest.mark.parametrize(
    "text", ["  GresTypes: token", "state_dir: ./state", "min_nodes: 1", "gres_conf: Name=token Count=1"]
)
def test_all_else_is_kept(text: str) -> None:
    assert shown(text) == f"{text}\n"


def test_a_diff_is_unified_and_short() -> None:
    assert difference("a\n", "a\n") == ""
    assert difference("a\nb\n", "a\nc\n") == "--- last used\n+++ now\n@@ -1,2 +1,2 @@\n a\n-b\n+c"
    lines = difference("", "".join(f"{n}\n" for n in range(5000)) + "x" * 10000).splitlines()
    assert len(lines) == 401 and lines[-1] == "... and 4604 more lines"
    assert max(map(len, difference("", "x" * 10000).splitlines())) < 600
