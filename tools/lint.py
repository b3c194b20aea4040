"""Check everything that can be checked without running it.

Every check is run; the exit code is 1 if any failed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jinja2

ROOT = Path(__file__).resolve().parent.parent
MIRROR = ROOT / "demo" / "provider" / "mirror"
"""Where the set-up of the local cloud writes its Terraform provider."""


def call(*argv: str, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> bool:
    """Run a checker; its output goes to the terminal."""
    return subprocess.run(argv, cwd=cwd, env=os.environ | (environment or {}), check=False).returncode == 0


def ruff() -> bool:
    """Style of the Python code."""
    return all([call("ruff", "check", "--quiet", "."), call("ruff", "format", "--check", "--quiet", ".")])


def mypy() -> bool:
    """Types of the package."""
    return call("mypy", "--no-error-summary")


def ansible_lint() -> bool:
    """Playbooks and roles, at the strictest profile, without looking anything up."""
    return call("ansible-lint", "--offline", "-q", "--profile", "production", "playbooks", "roles")


def terraform_fmt() -> bool:
    """Format of the Terraform code."""
    return call(
        "terraform", "fmt", "-check", "-recursive", "-diff", environment={"TF_CLI_CONFIG_FILE": os.devnull}
    )


def terraform_validate() -> bool:
    """The root modules whose provider is here: in a copy, so that the checkout stays clean."""
    good = True
    with tempfile.TemporaryDirectory() as scratch:
        rc = Path(scratch, "terraformrc")
        rc.write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{MIRROR}" }}\n}}\n')
        for module in ("base", "nodes"):
            directory = Path(shutil.copytree(ROOT / "demo" / module, Path(scratch, module)))
            environment = {"TF_CLI_CONFIG_FILE": str(rc), "TF_IN_AUTOMATION": "1"}
            for verb in (("init", "-backend=false", "-input=false"), ("validate",)):
                good = good and call("terraform", *verb, "-no-color", cwd=directory, environment=environment)
    return good


def shell_scripts() -> Iterator[Path]:
    """Find the shell scripts of the checkout by their first line."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT, check=True, capture_output=True,
    ).stdout  # fmt: skip
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if name and path.suffix in ("", ".sh") and path.is_file():
            with path.open("rb") as file:
                first = file.readline(64)
            if first.startswith(b"#!") and first.split()[-1].rsplit(b"/", 1)[-1] in (b"sh", b"bash", b"dash"):
                yield path


def shellcheck() -> bool:
    """Shell scripts, and the hooks as they are rendered for a cluster."""
    with tempfile.TemporaryDirectory() as scratch:
        scripts = [str(path) for path in shell_scripts()]
        templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(ROOT / "slurmscripts"),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
        )
        values = json.loads((ROOT / "slurmscripts" / "example.json").read_text())
        for name in templates.list_templates(extensions=["j2"]):
            text = templates.get_template(name).render(values)
            if text.startswith("#!/bin/sh"):
                rendered = Path(scratch, name.removesuffix(".j2"))
                rendered.write_text(text)
                scripts.append(str(rendered))
        return call("shellcheck", *scripts)


CHECKS: tuple[tuple[str, Callable[[], bool]], ...] = (
    ("ruff", ruff),
    ("mypy --strict", mypy),
    ("shellcheck", shellcheck),
    ("terraform fmt", terraform_fmt),
    ("terraform validate", terraform_validate),
    ("ansible-lint", ansible_lint),
)


def main() -> int:
    """Run all checks."""
    failed = []
    for name, check in CHECKS:
        begin = time.monotonic()
        good = check()
        print(f"{name:20} {'ok' if good else 'FAILED':6} {time.monotonic() - begin:6.1f} s", flush=True)
        if not good:
            failed.append(name)
    if failed:
        print(f"lint: failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
