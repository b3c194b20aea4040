"""Check everything that can be checked without running it.

Every check is run, two at a time; the exit code is 1 if any failed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import jinja2

ROOT = Path(__file__).resolve().parent.parent


def call(*argv: str, environment: dict[str, str] | None = None) -> str:
    """Run a checker in the checkout; return what it complains about, empty if it is content."""
    if shutil.which(argv[0]) is None:
        return f"{argv[0]} is not installed: `make setup` says how\n"
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout or f"{argv[0]} left with exit code {done.returncode}\n" if done.returncode else ""


def ruff() -> str:
    """Style of the Python code."""
    return call("ruff", "check", "--quiet", ".") + call("ruff", "format", "--check", "--quiet", ".")


def mypy() -> str:
    """Types of the package."""
    return call("mypy", "--no-error-summary")


def ansible_lint() -> str:
    """Playbooks and roles, at the strictest profile, without looking anything up."""
    return call("ansible-lint", "--offline", "-q", "--profile", "production", "playbooks", "roles")


def terraform_fmt() -> str:
    """Format of the Terraform code."""
    return call(
        "terraform", "fmt", "-check", "-recursive", "-diff", environment={"TF_CLI_CONFIG_FILE": os.devnull}
    )


MODULES = ("demo/base", "demo/nodes", "terraform_ohpc/base", "terraform_ohpc/nodes", "terraform_ctl")


def terraform_validate() -> str:
    """The root modules, with the providers of this checkout: in a copy, so that the checkout stays clean."""
    with tempfile.TemporaryDirectory() as scratch:
        mirror = [sys.executable, str(ROOT / "tests/openstack/provider/mirror"), str(Path(scratch, "mirror"))]
        made = subprocess.run(mirror, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            return made.stderr or "the providers' mirror could not be made\n"
        environment = {"TF_CLI_CONFIG_FILE": made.stdout.strip(), "TF_IN_AUTOMATION": "1"}
        wrong = ""
        for module in MODULES:
            directory = shutil.copytree(ROOT / module, Path(scratch, module))
            for verb in (("init", "-backend=false", "-input=false"), ("validate",)):
                argv = ("terraform", f"-chdir={directory}", *verb, "-no-color")
                done = subprocess.run(
                    argv, env=os.environ | environment, capture_output=True, text=True, check=False
                )
                if done.returncode != 0:
                    wrong += f"{module}: terraform {verb[0]}\n{done.stdout}{done.stderr}"
                    break
        return wrong


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


def shellcheck() -> str:
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


# The longest first: two run at a time.
CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("ansible-lint", ansible_lint),
    ("mypy --strict", mypy),
    ("terraform validate", terraform_validate),
    ("ruff", ruff),
    ("shellcheck", shellcheck),
    ("terraform fmt", terraform_fmt),
)


def timed(check: Callable[[], str]) -> tuple[str, float]:
    """Run a check; return what is wrong, and its seconds."""
    begin = time.monotonic()
    return check(), time.monotonic() - begin


def main() -> int:
    """Run all checks."""
    failed = []
    with ThreadPoolExecutor(2) as pool:
        names = {pool.submit(timed, check): name for name, check in CHECKS}
        for future in as_completed(names):
            name, (wrong, seconds) = names[future], future.result()
            print(f"{wrong}{name:20} {'FAILED' if wrong else 'ok':6} {seconds:6.1f} s", flush=True)
            if wrong:
                failed.append(name)
    if failed:
        print(f"lint: failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
