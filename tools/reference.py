"""Write docs/reference from the code: commands, settings, evidence, exit codes, versions.

A test compares the files.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import guard_table  # beside this file; tools/ is no package
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python
from typer.testing import CliRunner

from slurm_powersave.commands.engine_served import PATIENCE
from slurm_powersave.config.cluster import SITE_PREFIXES, Cluster
from slurm_powersave.decide.node import wait_limits
from slurm_powersave.model.errors import PowersaveError
from slurm_powersave.model.slurm_versions import DEFAULT, NEWEST, TESTED, Difference, Row
from slurm_powersave.surfaces.cli.main import app

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
GENERATED = "<!-- Written by `make docs` from the code. -->\n"


def command_names(command: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Name the command and all subcommands, as the words that a person types."""
    yield way
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield from command_names(below, (*way, name))


def commands() -> str:
    """The command reference: what `--help` prints, for each command."""
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"})
    parts = [GENERATED, "# Commands\n"]
    for way in command_names(typer.main.get_command(app)):
        text = runner.invoke(app, [*way, "--help"], prog_name="slurm-powersave", terminal_width=100).output
        parts.append(f"## {' '.join(('slurm-powersave', *way))}\n\n```text\n{text.strip()}\n```\n")
    parts.append("Exit codes: [exit-codes.md](exit-codes.md).\n")
    return "\n".join(parts)


def errors(base: type[PowersaveError] = PowersaveError) -> Iterator[type[PowersaveError]]:
    """Name all our errors, an error before those that are special cases of it."""
    yield base
    for special in base.__subclasses__():
        yield from errors(special)


def exit_codes() -> str:
    """The exit codes, from the errors' own words."""
    rows: dict[int, list[str]] = {}
    for error in errors():
        sentence = re.sub(r"\s+", " ", (error.__doc__ or "").strip().split("\n\n")[0])
        if error is PowersaveError:
            sentence = (
                "Another failure; with `--wait`: an operation failed or was cancelled; with"
                " `reimage --outdated`: an operation failed."
            )
        rows.setdefault(error.exit_code, []).append(sentence)
    lines = [GENERATED, "# Exit codes\n", "| code | meaning |", "|---|---|", "| 0 | Done. |"]
    lines += [f"| {code} | {' '.join(dict.fromkeys(rows[code]))} |" for code in sorted(rows)]
    lines += [
        "| 130 | Interrupted. |",
        "",
        "An unknown option or a missing argument is 2, too. Results go to stdout, remarks and errors to",
        "stderr. With `--json` an error is one JSON object on stderr:",
        '`{"error": {"what": ..., "where": ..., "why": ..., "todo": ..., "exit_code": ...}}`.',
        "",
    ]
    return "\n".join(lines)


def kind(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Say in a few words what a value of a JSON schema is."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(kind(one, definitions) for one in choices))
    if "allOf" in schema:
        return kind(schema["allOf"][0], definitions)
    if "enum" in schema:
        return "one of " + ", ".join(f"`{one}`" for one in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {kind(schema.get('items', {}), definitions)}"
        case "object" if "properties" in schema:
            return "section"
        case "object":
            of = schema.get("additionalProperties")
            return f"map to {kind(of, definitions)}" if isinstance(of, dict) else "map"
        case "string":
            return "path" if schema.get("format") == "path" else "text"
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case "integer" | "number" as number:
            low, high = schema.get("minimum"), schema.get("maximum")
            bounds = f" from {low}" if low is not None else ""
            return number + bounds + (f" to {high}" if high is not None else "")
        case _:
            return "anything"


def default(field: FieldInfo) -> str:
    """Write a setting's default as YAML would."""
    if field.is_required():
        return "required"
    value = to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))
    return f"`{json.dumps(value)}`"


def section(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Rows for a section's keys, and for those of the sections within."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    for name, field in model.model_fields.items():
        if field.exclude:
            continue
        below = section_in(field.annotation)
        said = kind(schema["properties"][name], definitions)
        meaning = (field.description or "").replace("|", "\\|")
        key = f"{prefix}{name}"
        first = ("" if below and not field.is_required() else default(field)) if name != "state_dir" else ""
        yield f"| `{key}` | {said} | {first} | {meaning} |"
        if below:
            inner = {"array": "[]", "map": ".NAME"}.get(container(field.annotation), "")
            yield from section(below, f"{key}{inner}.")


def container(annotation: Any) -> str:
    """Tell whether a type is a list or a map."""
    origin = get_origin(annotation)
    return "array" if origin in (tuple, list) else "map" if origin is dict else ""


def section_in(annotation: Any) -> type[BaseModel] | None:
    """Find the section that a type holds, directly or in a list or a map."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := section_in(one))), None)


def settings_page() -> str:
    """The settings reference, from the descriptions of the models."""
    return "\n".join(
        [
            GENERATED,
            "# Settings\n",
            "The keys of the cluster file (`group_vars/all.yml`). `NAME` stands for a name that you choose,",
            "`[]` for each entry of a list. Relative paths are relative to the file. `slurm-powersave check`",
            "tells what is wrong in a file. Keys that begin with "
            + " or ".join(f"`{prefix}`" for prefix in SITE_PREFIXES)
            + " are your own:",
            "Ansible gets them, nothing else looks at them.",
            "",
            "| key | kind | default | meaning |",
            "|---|---|---|---|",
            *section(Cluster, ""),
            "",
        ]
    )


def by_version(row: Row) -> list[tuple[int, int]]:
    """Sort a row by the version at which something changes; what all versions do comes first."""
    edges = [edge for edge in (row.since, row.before) if edge]
    return [(edge.year, edge.month) for edge in edges]


def slurm_versions_page() -> str:
    """The table of what differs between versions of Slurm."""
    oldest = Difference.POWER_DOWN_FORCE.value.since
    rows = sorted((difference.value for difference in Difference), key=by_version)
    return "\n".join(
        [
            GENERATED,
            "# Versions of Slurm\n",
            "`slurm_version` in the cluster file is the version of slurmctld, for example "
            f'`slurm_version: "{DEFAULT}"`.',
            "Only its first two numbers count. slurm.conf is written for this version.",
            "",
            "| version | what is known of it |",
            "|---|---|",
            *(f"| {version} | tested with {version.text} |" for version in TESTED),
            f"| every other version from {oldest} to {NEWEST} | by the table below; not tested |",
            f"| newer than {NEWEST} | treated like {NEWEST}; `slurm-powersave check` warns |",
            f"| older than {oldest} | refused |",
            "",
            "What was tested with which version: [tested.md](tested.md).",
            "",
            "## The slurmctld that runs",
            "",
            "Once slurmctld runs, its version counts. `check`, `status`, `deploy` and `resize` ask slurmctld",
            "itself, because the installed programs may be newer than the running process. If slurmctld and",
            "the cluster file differ, `check` reports an error, `status` says so, and `deploy` and `resize`",
            "refuse and change nothing: set `slurm_version` to what slurmctld runs, then run",
            "`slurm-powersave deploy`. Until then slurm.conf stays as it is. If slurmctld can't be asked,",
            "that is said, and it is no error.",
            "",
            "## What differs",
            "",
            "`from` is the first version that does it, `before` the first version that no longer does it.",
            "An empty field means that there is no such version. The last column says what was only read,",
            "assumed, or never looked at. Where the beginning is not known, `from` is the first version on",
            "which it was measured, unless the last column says otherwise.",
            "",
            "| from | before | what Slurm does | what the toolkit does | how it is known |",
            "|---|---|---|---|---|",
            *(
                f"| {row.since or ''} | {row.before or ''} | {row.what} | {row.consequence} | {row.source} |"
                for row in rows
            ),
            "",
        ]
    )


def phases_page() -> str:
    """The phases of an operation and what each waits for, from the table of waits."""
    rows = [
        (phase, wait.meaning, wait.what, wait.limit, wait.then) for phase, wait in wait_limits.TABLE.items()
    ]
    return "\n".join(
        [
            GENERATED,
            "# Phases and outcomes of an operation\n",
            "An operation is one node's way through one request. `slurm-powersave status`, `follow` and",
            "`history` name its phases.",
            f"After {wait_limits.SAID_AFTER:.0f} s in a phase `status` also tells what keeps an operation",
            "from going on: what can't be read, and why. Limits count while the engine runs.",
            "",
            "| phase | what is going on | what it waits for | at most | what happens then |",
            "|---|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            "| outcome | meaning |",
            "|---|---|",
            *(f"| {outcome} | {meaning} |" for outcome, meaning in wait_limits.OUTCOMES.items()),
            "",
            "## What commands wait for",
            "",
            "| command | waits for | at most | what happens then |",
            "|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in wait_limits.COMMANDS),
            "",
            "Where no engine runs each says so at once, and ends with exit code 11 when none has come within"
            f" {PATIENCE:.0f} s;",
            "`resize` refuses to begin.",
            "",
        ]
    )


def pages() -> dict[Path, str]:
    """Return the text of every generated page."""
    return {
        REFERENCE / "commands.md": commands(),
        REFERENCE / "evidence.md": guard_table.page(GENERATED),
        REFERENCE / "exit-codes.md": exit_codes(),
        REFERENCE / "phases.md": phases_page(),
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "slurm-versions.md": slurm_versions_page(),
    }


def main() -> int:
    """Write the pages that differ."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
