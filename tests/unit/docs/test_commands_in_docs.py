"""What the pages tell a person to type exists: commands with their options, make targets, settings."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.surfaces.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    page
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    if page.name not in ("commands.md", "settings.md")
]
COMMAND = re.compile(r"^(?:\.venv/bin/)?slurm-powersave\s+(.+)$")


def snippets(page: Path) -> Iterator[str]:
    """Lines of sh blocks, and inline code."""
    text = page.read_text()
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        yield from (line.split("  #")[0].strip() for line in block.splitlines())
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    for snippet in snippets(page):
        if not (match := COMMAND.match(snippet)) or match[1].startswith(":"):
            continue
        found: Any = typer.main.get_command(app)
        for word in shlex.split(match[1].partition(" | ")[0]):
            if word.startswith("-") and word != "-":
                options = {name for param in found.params for name in param.opts} | {"--help", "-h"}
                assert word in options, f"{page.name}: {snippet}: no option {word}"
            elif hasattr(found, "commands"):
                assert word in found.commands, f"{page.name}: {snippet}: no command {word}"
                found = found.commands[word]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    used = {match[1] for snippet in snippets(page) if (match := re.match(r"make ([a-z-]+)", snippet))}
    assert used <= targets


def wrong_keys(value: Any, annotation: Any, place: str) -> Iterator[str]:
    """Name the keys that the settings do not have."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if isinstance(value, dict):
            for key, below in value.items():
                if field := annotation.model_fields.get(key):
                    yield from wrong_keys(below, field.annotation, f"{place}.{key}")
                elif not (annotation is Cluster and key.startswith(("site_", "ansible_"))):
                    yield f"{place}.{key}"
        return
    for one in get_args(annotation):
        for item in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
            yield from wrong_keys(item, one, place)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_exist(page: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S):
        content = yaml.safe_load(block)
        if isinstance(content, dict):
            assert list(wrong_keys(content, Cluster, "")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_settings_exist(page: Path) -> None:
    """Inline code such as `failure.rest` names a setting."""
    sections = {name for name, field in Cluster.model_fields.items() if not field.exclude}
    for snippet in snippets(page):
        if match := re.fullmatch(r"([a-z_]+)\.([a-z_]+)", snippet):
            section, key = match.groups()
            if section in sections:
                model = Cluster.model_fields[section].annotation
                assert isinstance(model, type) and key in model.model_fields, snippet
