"""A filesystem mirror with providers that are written in Python and live in a checkout.

A lock file holds the hash of what a mirror has, so the launcher depends on the mirror's directory
alone, and the code is imported from where it is.
"""

import base64
import datetime
import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from main import private_path

HERE = Path(__file__).resolve().parent
FIND = """
import json, os, tf, grpc, google.protobuf, msgpack
up = lambda module, n: os.path.abspath(os.path.join(module.__file__, *[".."] * n))
print(json.dumps(sorted({up(tf, 2), up(grpc, 2), up(google.protobuf, 3), up(msgpack, 2)})))
"""


@dataclass(frozen=True)
class Provider:
    """A provider of this checkout."""

    package: Path
    """The directory of its Python package."""
    sources: tuple[str, ...]
    """HOST/NAMESPACE/TYPE; more than one where Terraform and OpenTofu look in different places."""
    version: str


def make(mirror: Path, python: str, providers: Sequence[Provider]) -> Path:
    """Write launchers and a CLI configuration (TF_CLI_CONFIG_FILE); return its path. Safe to repeat."""
    mirror = mirror.absolute()
    paths = site_packages(python)
    certificate(mirror / "certificate.json", python)
    python = str(Path(python).absolute())
    for provider in providers:
        name = hashlib.sha256(f"{mirror} {python} {provider.package}".encode()).hexdigest()[:12]
        warm = f"{private_path(os.getuid())}/{name}.warm"
        argv = [python, "-I", "-S", str(HERE / "launch.py"), warm, str(provider.package)]
        argv += [str(mirror / "certificate.json"), *paths]
        launch = mirror / f"launch-{provider.package.name}"
        write(launch, f"#!/bin/sh\nexec {shlex.join(argv)}\n", 0o755)
        machine = "arm64" if os.uname().machine == "aarch64" else "amd64"
        for source in provider.sources:
            package = mirror / source / provider.version / f"linux_{machine}"
            launcher = package / f"terraform-provider-{source.rpartition('/')[2]}_v{provider.version}"
            write(launcher, f"#!/bin/sh\nexec {shlex.quote(str(launch))}\n", 0o755)
    rc = mirror / "terraform.rc"
    here = json.dumps([source for provider in providers for source in provider.sources])
    write(
        rc,
        "disable_checkpoint = true\n"
        "provider_installation {\n"
        f'  filesystem_mirror {{\n    path    = "{mirror}"\n    include = {here}\n  }}\n'
        f"  direct {{\n    exclude = {here}\n  }}\n"
        "}\n",
        0o644,
    )
    return rc


def site_packages(python: str) -> list[str]:
    """Ask an interpreter where it has tf and what tf needs."""
    try:
        done = subprocess.run([python, "-c", FIND], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        why = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
        sys.exit(f"{python} can't run the provider: {' '.join(why)}\n  {python} -m pip install tf")
    return list(json.loads(done.stdout))


def write(path: Path, text: str, mode: int) -> None:
    """Write a file at once, and only if it differs: running providers may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.touch(mode)
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)


def certificate(path: Path, python: str) -> None:
    """Make the key pair that the provider shows to Terraform (go-plugin wants TLS on its socket)."""
    if path.exists():
        made = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
        if datetime.datetime.now(datetime.UTC) - made < datetime.timedelta(days=300):
            return
    code = HERE / "certificate.py"
    done = subprocess.run([python, str(code)], capture_output=True, text=True, timeout=60, check=True)
    pem = json.loads(done.stdout)
    der = base64.b64encode(base64.b64decode("".join(pem["certificate"].strip().splitlines()[1:-1]))).decode()
    write(path, json.dumps({**pem, "der": der}), 0o600)
