"""Every mistake of a cluster file in one report: file, key, what is wrong, what would be right."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from slurm_powersave.decide import crosscheck, yaml_file
from slurm_powersave.decide.cluster import SITE_PREFIXES, Cluster
from slurm_powersave.decide.sections import Section
from slurm_powersave.decide.yaml_file import Document, Loc, Mistake

_NOUNS = {
    "bool": "true or false",
    "dict": "a mapping (key: value)",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a mapping (key: value)",
    "path": "a path",
    "string": "a text",
    "tuple": "a list",
}
"""What would be right, by the first word of pydantic's type of error."""


def examine(path: Path) -> tuple[Cluster | None, list[Mistake]]:
    """Read a cluster file and find every mistake in it.

    Returns:
        The cluster, or None if the file's values can't be taken as one; and the mistakes in the
        order of the file. A cluster with mistakes must not be used.
    """
    path = Path.cwd() / path
    document = yaml_file.read(path)
    if not document.content:
        return None, document.mistakes
    cluster, mistakes = _validate(document)
    mistakes += document.mistakes
    mistakes += crosscheck.mistakes(document)
    unique = {(mistake.key, mistake.wrong): mistake for mistake in mistakes}
    return cluster, sorted(unique.values(), key=lambda mistake: (mistake.line, mistake.key))


def _validate(document: Document) -> tuple[Cluster | None, list[Mistake]]:
    """Hold the values against the models."""
    own = {key: value for key, value in document.content.items() if not str(key).startswith(SITE_PREFIXES)}
    site = {key: value for key, value in document.content.items() if key not in own}
    # These two are not for the file to say; a key of that name in it is unknown like any other.
    strays = [key for key in ("file", "site") if key in own]
    values: dict[Any, Any] = {key: value for key, value in own.items() if key not in strays}
    values.setdefault("state_dir", f"/var/lib/slurm-powersave/{own.get('cluster_name')}")
    values |= {"file": document.file, "site": site}
    wrong = [document.mistake((key,), "unknown key", _nearest(key, _keys(Cluster))) for key in strays]
    try:
        return Cluster.model_validate(values, context={"base": document.file.parent}), wrong
    except ValidationError as error:
        return None, wrong + [_mistake(document, detail) for detail in error.errors(include_url=False)]


def _mistake(document: Document, detail: ErrorDetails) -> Mistake:
    """Say one of pydantic's errors in the words of the file."""
    kind = detail["type"]
    loc: Loc = tuple(part for part in detail["loc"] if part != "[key]")
    section, field = _place(loc)
    about = f" ({field.description})" if field and field.description else ""
    given = detail.get("input")
    if kind == "missing":
        return document.mistake(loc, "missing", f"add it: {field.description if field else 'it is required'}")
    if kind == "extra_forbidden":
        return document.mistake(loc, "unknown key", _nearest(str(loc[-1]), _keys(section)))
    if kind == "value_error":
        wrong, _, right = str(detail.get("ctx", {}).get("error", detail["msg"])).partition("; ")
        return document.mistake(loc, wrong, f"{right}{about}")
    if kind == "enum":
        expected = str(detail.get("ctx", {}).get("expected", "")).replace("'", "")
        return document.mistake(
            loc, "unknown key", _nearest(str(loc[-1]), expected.replace(" or ", ", ").split(", "))
        )
    if kind == "string_pattern_mismatch":
        pattern = detail.get("ctx", {}).get("pattern", "")
        return document.mistake(
            loc, f"{given!r} has characters that have no place there", f"{pattern}{about}"
        )
    if kind.endswith(("_type", "_parsing", "_from_float")):
        noun = _NOUNS.get(kind.partition("_")[0], detail["msg"])
        return document.mistake(loc, f"{_short(given)} is not {noun}", f"{noun}{about}")
    right = detail["msg"].replace("Input should be", "").replace("after validation", "").strip()
    return document.mistake(loc, f"{_short(given)} is out of bounds", f"{right}{about}")


def _place(loc: Loc) -> tuple[type[Section], FieldInfo | None]:
    """Find the innermost section that a location is in, and the field there."""
    section: type[Section] = Cluster
    field: FieldInfo | None = None
    annotation: Any = Cluster
    for part in loc:
        if isinstance(annotation, type) and issubclass(annotation, Section):
            section, field = annotation, annotation.model_fields.get(str(part))
            annotation = field.annotation if field else None
        else:
            # An index or a key of a mapping: on to what the container holds.
            inner = [item for item in get_args(_bare(annotation)) if item is not Ellipsis]
            annotation = inner[-1] if inner else None
        annotation = _bare(annotation)
    return section, field


def _bare(annotation: Any) -> Any:
    """Strip Annotated and Optional."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    if get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        return next((item for item in get_args(annotation) if item is not type(None)), annotation)
    return annotation


def _keys(section: type[Section]) -> list[str]:
    return [name for name, field in section.model_fields.items() if not field.exclude]


def _nearest(given: str, known: Iterable[str]) -> str:
    """Say which key was probably meant."""
    names = list(known)
    near = difflib.get_close_matches(given.lower(), names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else "known here: " + ", ".join(names)


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
