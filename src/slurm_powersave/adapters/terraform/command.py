"""Terraform's command line and its machine-readable output.

python-terraform builds the argv and nothing else: its runner has no time limit, no streaming and
no cancel, it parses the state after every success, and a typo such as `t.aply()` runs
`terraform aply` (measured, 0.10.1).
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_terraform import IsFlagged
from python_terraform import Terraform as _PythonTerraform

from slurm_powersave.adapters.processes.process import run
from slurm_powersave.decide.node.failure_policy import classify
from slurm_powersave.decide.node.server_states import explained
from slurm_powersave.model.errors import FailureClass, MissingToolError
from slurm_powersave.model.nodes import Failure

OLDEST = (1, 5)


class _Argv(_PythonTerraform):  # type: ignore[misc]  # python-terraform has no types
    """python-terraform without what is broken in it."""

    def read_state_file(self, file_path: str | None = None) -> None:
        """Leave the state alone: a corrupt one would raise in the constructor."""

    def __getattr__(self, item: str) -> Any:
        raise AttributeError(item)


@dataclass(frozen=True)
class Command:
    """How Terraform is called: which binary, with which CLI configuration."""

    binary: str = "terraform"
    cli_config: Path | None = None
    credentials: Callable[[], Mapping[str, str]] = dict
    """Finds the variables that lead to the cloud's credentials from any directory."""

    def env(self) -> dict[str, str]:
        """Return the environment: the cloud's credentials may be in it, so all of it is passed on."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        env |= {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_INPUT": "0"}
        for name in ("TF_PLUGIN_CACHE_DIR", "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE"):
            env |= {name: os.environ[name]} if name in os.environ else {}
        config = str(self.cli_config) if self.cli_config else os.environ.get("TF_CLI_CONFIG_FILE")
        return env | ({"TF_CLI_CONFIG_FILE": config} if config else {}) | dict(self.credentials())

    def _argv(self, command: str, *args: str, **options: Any) -> list[str]:
        builder = _Argv(terraform_bin_path=self.binary)
        return [str(word) for word in builder.generate_cmd_string(command, *args, **options)]

    def init(self, *, upgrade: bool = False, readonly: bool = False, plugin_dir: str = "") -> list[str]:
        """Return the argv of `terraform init`.

        Args:
            upgrade: take the newest providers that the root module allows.
            readonly: take those of the lock file, and no others.
            plugin_dir: where the providers are; no registry is asked.
        """
        return self._argv(
            "init",
            input=False,
            no_color=IsFlagged,
            upgrade=IsFlagged if upgrade else None,
            lockfile="readonly" if readonly else None,
            plugin_dir=plugin_dir or None,
        )

    def plan(
        self,
        out: Path,
        targets: Iterable[str] = (),
        *,
        refresh: bool,
        destroy: bool = False,
        replace: Iterable[str] = (),
        detailed: bool = False,
    ) -> list[str]:
        """Return the argv of `terraform plan -json -out`; `detailed`: it ends with 2 if there are changes."""
        return self._argv(
            "plan",
            json=IsFlagged,
            input=False,
            out=str(out),
            refresh=refresh,
            destroy=IsFlagged if destroy else None,
            detailed_exitcode=IsFlagged if detailed else None,
            lock_timeout="30s",
            target=list(targets),
            replace=list(replace),
        )

    def show(self, plan: Path) -> list[str]:
        """Return the argv of `terraform show -json PLAN`."""
        return self._argv("show", str(plan), json=IsFlagged, no_color=IsFlagged)

    def show_text(self, plan: Path) -> list[str]:
        """Return the argv of `terraform show PLAN`, for a person."""
        return self._argv("show", str(plan), no_color=IsFlagged)

    def apply(self, plan: Path, parallelism: int) -> list[str]:
        """Return the argv of `terraform apply -json PLAN`: a saved plan asks nothing."""
        return self._argv(
            "apply",
            str(plan),
            json=IsFlagged,
            input=False,
            lock_timeout="30s",
            parallelism=parallelism,
        )

    def refresh(self) -> list[str]:
        """Return the argv of `terraform apply -refresh-only`: the state takes what the cloud says."""
        argv = ["apply", "-refresh-only", "-auto-approve", "-json", "-input=false", "-lock-timeout=30s"]
        return [self.binary, *argv]

    def forget(self, addresses: Iterable[str]) -> list[str]:
        """Return the argv of `terraform state rm`: nothing outside of the state is touched."""
        return [self.binary, "state", "rm", "-lock-timeout=30s", *addresses]

    def check(self) -> str:
        """Return Terraform's version.

        Raises:
            MissingToolError: there is no such binary, or it is too old.
        """
        # It needs a directory that it may read, and ours may be somebody else's home.
        done = run([self.binary, "version", "-json"], timeout=30, env=self.env(), cwd=Path("/"))
        try:
            version = str(json.loads(done.out)["terraform_version"])
            numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
        except (ValueError, KeyError, TypeError) as error:
            raise MissingToolError(
                f"{self.binary} does not tell its version", why=(done.err or done.out).strip()[:300]
            ) from error
        if numbers < OLDEST:
            raise MissingToolError(
                f"{self.binary} is version {version}",
                todo=f"Install Terraform {OLDEST[0]}.{OLDEST[1]} or later, or OpenTofu.",
            )
        return version


def diagnostics(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Return (resource address or "", text) of each error in Terraform's -json output."""
    found = []
    for line in lines:
        event = parse_line(line)
        if event.get("type") != "diagnostic":
            continue
        diagnostic = event.get("diagnostic")
        if isinstance(diagnostic, dict) and diagnostic.get("severity") == "error":
            words = [diagnostic.get(key) for key in ("summary", "detail")]
            text = ": ".join(str(word) for word in words if word)
            found.append((str(diagnostic.get("address") or ""), explained(" ".join(text.split()))))
    return found


def parse_line(line: str) -> Mapping[str, Any]:
    """Parse one line of -json output; what is not JSON (a crash's text) is an empty event."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def failure_of(text: str) -> Failure:
    """Class a diagnostic by what the cloud said in it."""
    return Failure(classify(text), text) if text else Failure(FailureClass.UNKNOWN, "no reason given")
