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


def call(*argv: str, environment: dict[str, str] | None = None) -> bool:
    """Run a checker in the checkout; its output goes to the terminal."""
    if shutil.which(argv[0]) is None:
        print(f"{argv[0]} is not installed: `make setup` says how")
        return False
    return subprocess.run(argv, cwd=ROOT, env=os.environ | (environment or {}), check=False).returncode == 0


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


MODULES = ("demo/base", "demo/nodes", "terraform_ohpc/base", "terraform_ohpc/nodes", "terraform_ctl")


def terraform_validate() -> bool:
    """The root modules, with the providers of this checkout: in a copy, so that the checkout stays clean."""
    with tempfile.TemporaryDirectory() as scratch:
        mirror = [sys.executable, str(ROOT / "tests/openstack/provider/mirror"), str(Path(scratch, "mirror"))]
        made = subprocess.run(mirror, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            print(made.stderr)
            return False
        environment = {"TF_CLI_CONFIG_FILE": made.stdout.strip(), "TF_IN_AUTOMATION": "1"}
        good = True
        for module in MODULES:
            directory = shutil.copytree(ROOT / module, Path(scratch, module))
            for verb in (("init", "-backend=false", "-input=false"), ("validate",)):
                argv = ("terraform", f"-chdir={directory}", *verb, "-no-color")
                done = subprocess.run(
                    argv, env=os.environ | environment, capture_output=True, text=True, check=False
                )
                if done.returncode != 0:
                    print(f"{module}: terraform {verb[0]}\n{done.stdout}{done.stderr}")
                    good = False
                    break
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
