"""What the role nfs_server writes for either program."""

import re
from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).resolve().parents[3] / "roles/nfs_server/templates"
CLIENTS: list[dict[str, Any]] = [
    {"network": "10.0.0.10", "squash": False},
    {"network": "10.0.1.1", "squash": True},
    {"network": "10.0.1.2/31", "squash": True},
]


def render(name: str, clients: list[dict[str, Any]] = CLIENTS) -> str:
    """Render a template as Ansible does."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    made = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return made.get_template(name).render(nfs_server_export="/srv/ohpc", nfs_server_clients=clients)


def test_exports_has_one_line_with_every_client() -> None:
    comment, line, *rest = render("exports.j2").splitlines()
    assert (comment[0], rest) == ("#", [])
    path, *clients = line.split(" ")
    assert path == "/srv/ohpc"
    assert clients == [
        "10.0.0.10(rw,sync,no_subtree_check,no_root_squash)",
        "10.0.1.1(rw,sync,no_subtree_check,root_squash)",
        "10.0.1.2/31(rw,sync,no_subtree_check,root_squash)",
    ], "no blank before a bracket: it would export to everybody (exports(5))"


def test_ganesha_gives_nothing_to_whom_it_does_not_know() -> None:
    text = render("ganesha.conf.j2")
    assert text.count("{") == text.count("}")
    export = text[text.index("EXPORT {") :]
    assert "Access_Type = None;" in export[: export.index("CLIENT {")]
    blocks = re.findall(
        r"CLIENT \{\n\s+Clients = (.*);\n\s+Access_Type = RW;\n\s+Squash = (\w+);\n\s+\}", export
    )
    assert blocks == [("10.0.0.10", "No_Root_Squash"), ("10.0.1.1, 10.0.1.2/31", "Root_Squash")]
    only = render("ganesha.conf.j2", CLIENTS[1:])
    assert only.count("CLIENT {") == 1
