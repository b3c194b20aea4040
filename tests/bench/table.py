"""The measurements as a table for people, with the aim where there is one."""

from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(found: dict[str, Any]) -> None:
    """Print what was measured."""
    table = Table(title="slurm-powersave: measured", title_justify="left")
    for column in ("what", "min", "median", "max", "n", "aim"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in _rows(found):
        table.add_row(*row)
    Console(width=110).print(table)


def _rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []

    def one(what: str, value: float, unit: str, aim: str = "") -> None:
        rows.append((what, "", f"{value:g} {unit}".strip(), "", "", aim))

    def several(what: str, values: dict[str, float], aim: str = "") -> None:
        least, middle, most = (f"{values[key]:g} s" for key in ("min", "median", "max"))
        rows.append((what, least, middle, most, str(values["n"]), aim))

    if hook := found.get("hook"):
        one("hook call, p50", hook["p50_ms"], "ms")
        one("hook call, p99", hook["p99_ms"], "ms", "50 ms")
    if journal := found.get("journal"):
        several("hook to journal", journal["hook_to_journal_s"])
    if resume := found.get("resume"):
        several("request to apply started", resume["request_to_apply_s"], "1 s")
        several("one-node resume: hook to up in Slurm", resume["total_s"], "12 s")
        for name, values in resume["phases_s"].items():
            several(f"  phase {name}", values)
        for name, values in resume["spent_s"].items():
            several(f"  of it {name}", values)
        several("  the engine's own share", resume["own_s"], "1 s")
        several("  the same with plan and show", resume["own_with_plan_s"])
    for part, title, aim in (
        ("resume", "with fast start", "10 s"),
        ("slow-start", "without fast start", ""),
    ):
        if part in found:
            starts = found[part]["sbatch_s"]
            several(f"sbatch to first line, {title}", starts["total"], aim)
            several("  sbatch to hook", starts["to_hook"])
            several("  hook to up", starts["hook_to_up"])
            several("  up to first line", starts["up_to_first_line"])
    if together := found.get("together"):
        several("four nodes, four calls at once", together["four_calls_s"])
        several("four nodes, one call", together["one_call_s"])
        one("  ratio", together["ratio"], "", "1.3")
    lab = found.get("openstack", {})
    on_lab = {"one-node resume": lab["resume"], **lab["changes"]} if lab else {}
    measured = found.get("changes", {}) | {f"OpenStack: {what}": times for what, times in on_lab.items()}
    for what, times in measured.items():
        several(what, times["total_s"])
        for name, seconds in times["phases_s"].items():
            one(f"  phase {name}", seconds, "s")
    if idle := found.get("idle"):
        one("idle engine, with what it calls", idle["cpu_percent"], "% of a core", "1 %")
        one("idle engine, resident", idle["resident_mb"], "MB", "150 MB")
    return rows
