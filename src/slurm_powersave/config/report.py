"""Every mistake of a cluster file in one report: file, key, what is wrong, what would be right."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from slurm_powersave.config import crosscheck, yaml_file
from slurm_powersave.config.cluster import SITE_PREFIXES, Cluster
from slurm_powersave.config.sections import Section
from slurm_powersave.config.yaml_file import Document, Loc, Mistake
from slurm_powersave.model.nearest_name import did_you_mean

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
    # A key with nothing below it (all commented out) is as good as left out.
    optional = {name for name, field in Cluster.model_fields.items() if not field.is_required()}
    values: dict[Any, Any] = {
        str(key): value
        for key, value in own.items()
        if key not in strays and not (value is None and key in optional)
    }
    values.setdefault("state_dir", f"/var/lib/slurm-powersave/{own.get('cluster_name')}")
    values |= {"file": document.file, "site": site}
    wrong = [document.mistake((key,), "unknown key", _nearest(key, _keys(Cluster))) for key in strays]
    try:
        return Cluster.model_validate(values, context={"base": document.file.parent}), wrong
    except ValidationError as error:
        return None, wrong + [
            _mistake(document, detail)
            for detail in error.errors(include_url=False)
            # A list whose items are all malformed counts as empty; the items are reported.
            if not (detail["type"] == "too_short" and detail["input"])
        ]


def _mistake(document: Document, detail: ErrorDetails) -> Mistake:
    """Say one of pydantic's errors in the words of the file."""
    kind = detail["type"]
    loc: Loc = tuple(part for part in detail["loc"] if not str(part).startswith(("[key]", "<")))
    section, field = _place(loc)
    about = f" ({field.description.rstrip('.')})" if field and field.description else ""
    context = detail.get("ctx", {})
    given = _short(detail.get("input"))
    match kind:
        case "missing":
            return document.mistake(loc, "missing", f"add it{about}")
        case "too_short" | "string_too_short":
            return document.mistake(loc, "is empty", f"at least one{about}")
        case "extra_forbidden":
            return document.mistake(loc, "unknown key", _nearest(str(loc[-1]), _keys(section)))
        case "value_error":
            wrong, _, right = str(context.get("error", detail["msg"])).partition("; ")
            return document.mistake(loc, wrong, right + about)
        case "enum":
            known = re.findall(r"'([^']*)'", str(context.get("expected")))
            return document.mistake(loc, "unknown key", _nearest(str(loc[-1]), known))
        case "greater_than_equal":
            return document.mistake(loc, f"{given} is too small", f"{context['ge']} or more{about}")
        case "less_than_equal":
            return document.mistake(loc, f"{given} is too large", f"{context['le']} or less{about}")
    if kind.endswith(("_type", "_parsing", "_from_float")):
        noun = _NOUNS.get(kind.partition("_")[0], "another kind of value")
        return document.mistake(loc, f"{given} is of the wrong kind", noun + about)
    return document.mistake(loc, f"{given} can't stand here", detail["msg"] + about)


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
    """Strip Annotated and Optional; of a union take the first."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    if get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        return next((_bare(item) for item in get_args(annotation) if item is not type(None)), annotation)
    return annotation


def _keys(section: type[Section]) -> list[str]:
    return [name for name, field in section.model_fields.items() if not field.exclude]


def _nearest(given: str, known: Iterable[str]) -> str:
    """Say which key was probably meant."""
    names = list(known)
    return did_you_mean(given.lower(), names, "known here: " + ", ".join(names))


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
