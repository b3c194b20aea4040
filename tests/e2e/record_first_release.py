"""Record what the first release leaves on a disk (tests/recorded/first_release/README.md says from what).

    python -m tests.e2e.record_first_release STATE_DIRECTORY CLUSTER_FILE BACKUP

Keys are left out, and this machine's paths become @NAMES@; tests/first_release.py puts others in their place.
"""

import io
import json
import re
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests import hook_scripts
from tests.first_release import COMMIT, RECORDED

LEFT = re.compile(
    r"journal\.db|keys/(id_ed25519|munge\.key)$|/?(engine|known_hosts)\.lock$|\.terraform/|tfplan$"
)
"""Parts of the state directory's names: secrets, what is recorded otherwise, and what is not read."""
SPOOL = {
    "resume": ("up-[4-5]", "disk"),
    "suspend": ("up-1",),
    "resume-fail": ("up-6",),
    "reboot": ("up-2",),
}
RESUME_FILE = '{"jobs":[{"job_id":4,"nodes":"up-[4-5]"}],"all_nodes":"up-[4-5]"}\n'


class Text(str):
    """A text that YAML writes as a block of lines."""


def _block(dumper: yaml.SafeDumper, text: Text) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|" if "\n" in text else None)


yaml.SafeDumper.add_representer(Text, _block)


def write(name: str, content: Mapping[str, object]) -> None:
    """Write one file of the recording."""
    (RECORDED / name).write_text(yaml.safe_dump(dict(content), sort_keys=False, width=10_000))


class Anonymous:
    """Puts names in the place of what belongs to the machine of the recording."""

    def __init__(self, manifest: Mapping[str, str], cluster: str, state: Path) -> None:
        settings = yaml.safe_load(cluster)["clouds"]["local"]
        self._names = {
            str(Path(manifest["cluster_file"]).parent): "@PLACE@",
            settings["base_module"].removesuffix("/demo/base"): "@CHECKOUT@",
            settings["settings"]["images"]["default"]: "@IMAGE@",
            f"root@{manifest['host']}": "root@control",
            (state / "keys/id_ed25519.pub").read_text().split()[1]: "@PUBLIC_KEY@",
        }
        for line in (state / "known_hosts").read_text().splitlines():
            names, _, key = line.split()
            self._names[key] = f"@HOST_KEY_{names.split(',')[0]}@"

    def text(self, text: str) -> Text:
        for found, name in self._names.items():
            text = text.replace(found, name)
        assert "/tmp" not in text and not re.search(r"AAAA[A-Za-z0-9+/]{20}", text), text
        return Text(text)


def dump(journal: bytes, anonymous: Anonymous) -> Text:
    """Return a journal as SQL, with its version, which a dump does not hold."""
    db = sqlite3.connect(":memory:")
    with tempfile.NamedTemporaryFile() as file:
        file.write(journal)
        file.flush()
        sqlite3.connect(file.name).backup(db)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return anonymous.text("\n".join([*db.iterdump(), f"PRAGMA user_version = {version};", ""]))


def state_directory(state: Path, anonymous: Anonymous) -> dict[str, Text]:
    """Return name -> content of what is kept of a state directory."""
    names = {str(path.relative_to(state)): path for path in sorted(state.rglob("*")) if path.is_file()}
    runs = {str(Path(row[0]).relative_to(Path(row[0]).parent.parent)) for row in _runs(state)}
    kept = {
        name: path
        for name, path in names.items()
        if not LEFT.search(name)
        and (not name.startswith("runs/") or any(name.startswith(run) for run in runs))
    }
    return {name: anonymous.text(path.read_text()) for name, path in kept.items()}


def _runs(state: Path) -> list[tuple[str]]:
    db = sqlite3.connect(f"file:{state / 'journal.db'}?mode=ro", uri=True)
    return db.execute("SELECT directory FROM runs").fetchall()


def scripts(place: Path) -> Path:
    """Lay out the hooks of that commit, and the reader of the spool; return their directory."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", COMMIT, "slurmscripts"], capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(place, filter="data")
    return place / "slurmscripts"


def spool(place: Path) -> dict[str, dict[str, Text]]:
    """Let those hooks write requests; return shell -> hook -> file."""
    (place / "resume.json").write_text(RESUME_FILE)
    found: dict[str, dict[str, Text]] = {}
    for shell in ("dash", "bash"):
        found[shell] = {}
        for hook, arguments in SPOOL.items():
            hooks = hook_scripts.HookScripts(place / shell / hook, shell=shell)
            env = {"SLURM_JOB_ID": "4", "SLURM_RESUME_FILE": str(place / "resume.json")}
            assert hooks.call(hook, *arguments, env=env if hook == "resume" else {}) == 0
            (file,) = hooks.new.iterdir()
            found[shell][hook] = Text(file.read_text())
    return found


def main(state: Path, cluster_file: Path, backup: Path) -> None:
    """Write the recording."""
    with tarfile.open(backup) as tar:
        members = {one.name: tar.extractfile(one) for one in tar}
        content = {name: file.read() for name, file in members.items() if file}
    manifest = json.loads(content.pop("manifest.json"))
    cluster = cluster_file.read_text()
    assert content["cluster.yml"].decode() == cluster
    anonymous = Anonymous(manifest, cluster, state)
    (RECORDED / "cluster.yml").write_text(anonymous.text(cluster))
    files = state_directory(state, anonymous)
    write("state.yml", files)
    (RECORDED / "journal.sql").write_text(dump((state / "journal.db").read_bytes(), anonymous))
    (RECORDED / "backup.sql").write_text(dump(content["state/journal.db"], anonymous))
    said = manifest | {"host": "control", "members": list(manifest["members"])}
    others = {
        name: text
        for name, raw in content.items()
        if name.startswith("state/") and not LEFT.search(name)
        if (text := anonymous.text(raw.decode())) != files[name.removeprefix("state/")]
    }
    manifest_text = json.loads(anonymous.text(json.dumps(said)))
    write("backup.yml", {"manifest": manifest_text, "changed_since": others})
    with tempfile.TemporaryDirectory() as place:
        hook_scripts.SOURCES = scripts(Path(place))
        reader = (hook_scripts.SOURCES / "reader.py").read_text()
        (RECORDED / "reader.py.txt").write_text(reader)
        write("spool.yml", spool(Path(place)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
