"""The cluster file as YAML: where each key stands, and what is wrong before it means anything.

Ansible reads the same file, so what Ansible would take otherwise than a person means it is refused
here (a key given twice, a template), or read as text by both (`24:00:00` is a number in YAML 1.1).
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slurm_powersave.config.plain_file import read_text
from slurm_powersave.model import machine
from slurm_powersave.model.errors import MachineError

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong in a file."""

    file: str
    key: str
    """Dotted path with indices, for example node_pools[0].addresses; empty for the file as a whole."""
    wrong: str
    right: str
    """What would be right."""
    line: int = 0
    """Counted from 1; 0 if not known."""

    @property
    def place(self) -> str:
        """File, and line if known, as compilers print it."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.place}: {key}{self.wrong}; {self.right}"


@dataclass
class Document:
    """A YAML file's content with the line of every key."""

    file: Path
    content: dict[str, Any] = field(default_factory=dict)
    lines: dict[Loc, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def mistake(self, loc: Loc, wrong: str, right: str) -> Mistake:
        """Make a mistake at a key; the line is the nearest known one above it."""
        known = next((loc[:end] for end in range(len(loc), 0, -1) if loc[:end] in self.lines), ())
        return Mistake(str(self.file), dotted(loc), wrong, right, self.lines.get(known, 0))


def dotted(loc: Loc) -> str:
    """Write a location as node_pools[0].addresses."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as Ansible reads it, but clock times stay text."""


# YAML 1.1 reads 24:00:00 as the number 86400 (in slurm.conf a bare number means minutes) and 010 as 8.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)$")
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, _INT if tag.endswith(":int") else pattern)
        for tag, pattern in resolvers
        if not tag.endswith(":timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(file: Path) -> Document:
    """Read a cluster file. What is wrong stands in the document's mistakes.

    The document is empty if the file can't be read or is no YAML mapping.

    Raises:
        MachineError: this host is in trouble, which says nothing about the file.
    """
    document = Document(file)

    def wrong(text: str, right: str, line: int = 0, key: str = "") -> Document:
        document.mistakes.append(Mistake(str(file), key, text, right, line))
        return document

    try:
        text = read_text(file)
    except OSError as error:
        if machine.is_at_fault(error) and not isinstance(error, PermissionError):
            raise MachineError("can't be read now", where=str(file), why=str(error.strerror)) from error
        return wrong(f"can't be read ({error.strerror})", "name a file that exists and that you may read")
    except UnicodeDecodeError as error:
        return wrong(f"not UTF-8 text (byte {error.start})", "save it as UTF-8")
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return wrong("is empty", "start from the commented group_vars/all.yml of the project")
        if not isinstance(root, yaml.MappingNode):
            return wrong("is not a mapping", "write `key: value` lines, as in group_vars/all.yml", 1)
        _walk(root, (), document)
        document.content = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, [error.problem, error.context]))
        return wrong(f"YAML: {problem}", "correct the syntax at this line", mark.line + 1 if mark else 0)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return wrong(f"YAML: {str(error).splitlines()[0]}", "correct the syntax")
    return document


def _walk(node: yaml.Node, loc: Loc, document: Document) -> None:
    """Record lines, and look for keys given twice and for templates."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[Hashable, int] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            line = key_node.start_mark.line + 1
            here = (*loc, key)
            if key in seen:
                document.mistakes.append(
                    Mistake(
                        str(document.file),
                        dotted(here),
                        f"given twice, first in line {seen[key]}",
                        "keep one; YAML would silently take the last",
                        line,
                    )
                )
            seen.setdefault(key, line)
            document.lines.setdefault(here, line)
            _walk(value_node, here, document)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            document.lines[(*loc, index)] = item.start_mark.line + 1
            _walk(item, (*loc, index), document)
    elif (
        isinstance(node, yaml.ScalarNode)
        and re.search(r"\{\{|\{%|\{#", node.value)
        and not (_chosen_in_a_cloud(loc) and not _ALL_TEMPLATE.fullmatch(node.value))
    ):
        document.mistakes.append(
            Mistake(
                str(document.file),
                dotted(loc),
                "a template",
                "write the value itself: not only Ansible reads this file",
                node.start_mark.line + 1,
            )
        )


_ALL_TEMPLATE = re.compile(r"\s*\{\{.*\}\}\s*", re.DOTALL)
"""A value that is nothing but a template was meant as one."""


def _chosen_in_a_cloud(loc: Loc) -> bool:
    """Tell whether a name stands here that is somebody else's choice: an image may be called `Rocky {{x}}`.

    Such names reach Ansible and Terraform as texts that are no templates (decide/slurm_files/literal.py).
    """
    match loc:
        case ("login", "image" | "flavor") | ("node_pools", int(), "image" | "zone"):
            return True
        case ("node_pools", int(), "flavors", int()) | ("clouds", str(), "settings", *_):
            return True
    return False
