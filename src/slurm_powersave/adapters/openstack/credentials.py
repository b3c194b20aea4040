"""Where the credentials of an OpenStack cloud are, found by one rule for all who need them.

openstacksdk looks in our working directory. Terraform runs in a state's directory, its provider looks there,
and it takes no entry of clouds.yaml without a name. So file and entry are found here, and handed on as an
absolute path and a name; the secrets stay where they are.
Order of the places: openstacksdk 4.22, openstack/config/loader.py.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slurm_powersave.config.plain_file import read_text

_FILES = {"cacert": "OS_CACERT", "cert": "OS_CERT", "key": "OS_KEY"}
"""Settings that name a file -> the variable of an RC file that names the same."""
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Credentials:
    """Where they are. Nothing here is a secret."""

    cloud: str = ""
    """The entry of clouds.yaml; empty: the OS_* variables hold the credentials, or there are none."""
    file: str = ""
    """clouds.yaml, absolute; empty if there is none."""
    secure: str = ""
    """secure.yaml, which may hold the passwords for it, absolute; empty if there is none."""
    files: Mapping[str, str] = field(default_factory=dict)
    """cacert, cert, key: absolute."""
    trouble: str = ""
    """Why it is not known which credentials are meant; empty if it is."""

    def environment(self) -> dict[str, str]:
        """Return the variables by which Terraform's provider, or any client of OpenStack, finds the same."""
        named = {
            "OS_CLOUD": self.cloud,
            "OS_CLIENT_CONFIG_FILE": self.file,
            "OS_CLIENT_SECURE_FILE": self.secure,
        }
        named |= {_FILES[name]: path for name, path in self.files.items()}
        return {name: value for name, value in named.items() if value}


def terraform(settings: Mapping[str, Any]) -> Callable[[], dict[str, str]]:
    """Return what finds, at each run of Terraform, the variables for a cloud's settings."""
    return lambda: find(str(settings.get("cloud") or "")).environment()


def find(cloud: str = "") -> Credentials:
    """Find the credentials.

    Args:
        cloud: the setting `cloud`; empty: OS_CLOUD, then the OS_* variables, then clouds.yaml's only entry.
    """
    env, here = os.environ, Path.cwd()
    named = cloud or env.get("OS_CLOUD", "")
    if not named and env.get("OS_AUTH_URL"):
        given = {name: env[variable] for name, variable in _FILES.items() if env.get(variable)}
        return Credentials(files={name: _absolute(path, [here]) for name, path in given.items()})
    file, content = _read("clouds", env.get("OS_CLIENT_CONFIG_FILE", ""), here)
    secure, hidden = _read("secure", env.get("OS_CLIENT_SECURE_FILE", ""), here)
    entries = [str(name) for name in content]
    trouble = ""
    if not named and len(entries) == 1:
        named = entries[0]
    elif not named and entries:
        trouble = f"{file} has several entries ({', '.join(entries)}), and none is chosen"
    elif not named:
        trouble = f"OS_AUTH_URL is not set, and no clouds.yaml with an entry is in {_listed(here)}"
    entry = {**_mapping(content.get(named)), **_mapping(hidden.get(named))}
    # What the cloud's entry does not say, an RC file's variable says to Terraform and to openstacksdk.
    given = {name: str(entry.get(name) or env.get(variable) or "") for name, variable in _FILES.items()}
    beside = [here, *([Path(file).parent] if file else [])]
    files = {name: _absolute(path, beside) for name, path in given.items() if path}
    return Credentials(named, file, secure, files, trouble)


def _places(here: Path) -> Iterator[Path]:
    yield here
    yield Path.home() / ".config" / "openstack"
    yield Path("/etc/xdg/openstack")
    yield Path("/etc/openstack")


def _listed(here: Path) -> str:
    return ", ".join(map(str, _places(here)))


def _read(name: str, given: str, here: Path) -> tuple[str, Mapping[Any, Any]]:
    """Return the first file that can be read, and its entries by name."""
    paths = [here / Path(given).expanduser()] if given else []
    paths += [place / f"{name}{suffix}" for place in _places(here) for suffix in _SUFFIXES]
    for path in paths:
        try:
            content = yaml.safe_load(read_text(path))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        return str(path), _mapping(_mapping(content).get("clouds"))
    return "", {}


def _absolute(path: str, places: Iterable[Path]) -> str:
    """Return where a file is: from the working directory, or beside clouds.yaml."""
    tried = [place / Path(path).expanduser() for place in places]
    return str(next((one for one in tried if one.exists()), tried[0]))


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
