"""Ansible and SSH inside of the servers of an image build; they are no nodes, and in no inventory."""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from slurm_powersave.adapters.ansible.playbooks import Site, answers, run_playbook
from slurm_powersave.adapters.ansible.run_inventory import RunInventory
from slurm_powersave.adapters.ansible.site_variables import protected
from slurm_powersave.adapters.processes.process import run
from slurm_powersave.adapters.ssh import known_hosts
from slurm_powersave.decide.slurm_files import ssh_options
from slurm_powersave.decide.slurm_files.inventory import group
from slurm_powersave.decide.slurm_files.literal import literal
from slurm_powersave.model.errors import PlaybookError, UnreachableError
from slurm_powersave.model.images import PROVENANCE, Identity, Look
from slurm_powersave.model.nodes import Server
from slurm_powersave.model.outside_text import BOOT_ID, MACHINE_ID, VERSION, address, is_chosen_name, matching

LOOK_SECONDS = 30.0
GROUP = "image_builder"
"""The group that playbooks/image.yml and image_proof.yml are for."""
_NAMES = ("name", "base", "node", "created")
_VERSIONS = ("roles", "packages")
_LONGEST = 65_536
"""Characters of a provenance file that are read."""
# Each line is there, if empty: the machine id, the boot id, then the provenance file.
_LOOK = (
    "head -n 1 /etc/machine-id 2>/dev/null | grep . || echo; "
    f"cat /proc/sys/kernel/random/boot_id; cat {PROVENANCE} 2>/dev/null || echo '{{}}'"
)


class AnsibleImagePlays:
    """Implements ports.ImagePlays, between enter and exit."""

    def __init__(
        self, site: Site, place: Path, sockets: Path, *, pool: str, user: str, before: Path | None
    ) -> None:
        """Take in what the plays are to use.

        `place`: a directory that is made for a build; what a killed one left in it goes. `sockets`: a short
        path, since that of a socket may have 108 bytes, and ssh adds 17 while it makes one. `before`: the
        pool's own playbook, which a node gets before ours, too.
        """
        self._place = place
        self._known_hosts = place / "known_hosts"
        # A new name each time: the master of a killed build lives on for a while, and knows another server.
        self._socket = sockets / f"image-{uuid.uuid4().hex[:12]}"
        self._site = replace(site, inventory=self._place / "inventory", known_hosts=self._known_hosts)
        self._source = site.inventory
        self._pool, self._user, self._before = pool, user, before

    def __enter__(self) -> "AnsibleImagePlays":
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(mode=0o700)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hang_up()
        shutil.rmtree(self._place, ignore_errors=True)

    def reachable(self, server: Server) -> bool:
        """Tell whether the server's sshd begins a key exchange, within 0.3 s."""
        return answers(server.address)

    def look(self, server: Server) -> Look:
        """Read what the server says of itself, over an SSH connection of its own."""
        self._trust(server)
        if not address(server.address):
            raise UnreachableError("it has no address", where=server.name)
        ssh = ssh_options.argv(self._known_hosts, self._site.private_key)
        argv = [*ssh, "-oControlPath=none", f"{self._user}@{server.address}", _LOOK]
        done = run(argv, timeout=LOOK_SECONDS)
        if done.rc != 0:
            raise UnreachableError(
                "SSH failed", where=f"{server.name} ({server.address})", why=done.err.strip()[-300:]
            )
        machine, boot, provenance = (*done.out.split("\n", 2), "", "")[:3]
        identity = Identity(
            server.host_key, matching(MACHINE_ID, machine.strip()), matching(BOOT_ID, boot.strip())
        )
        return Look(identity, _provenance(provenance))

    def prepare(self, server: Server, provenance: Mapping[str, Any]) -> None:
        """Run the pool's before_configure, then image.yml, their output where ours goes."""
        # One connection for all: the last tasks take away what a new one would need.
        shared = f"-o ControlMaster=auto -o ControlPersist=60 -o ControlPath={self._socket}"
        try:
            if self._before:
                self._play(server, str(self._before), {}, shared, site=True)
            self._play(server, "image.yml", {"image_provenance": dict(provenance)}, shared)
        finally:
            self._hang_up()

    def prove(self, server: Server) -> None:
        """Run image_proof.yml."""
        self._play(server, "image_proof.yml", {}, "-o ControlMaster=no -o ControlPath=none")

    def _play(
        self, server: Server, name: str, extra: Mapping[str, Any], ssh: str, *, site: bool = False
    ) -> None:
        self._trust(server)
        self._write_inventory(server, ssh)
        played = self._as_the_sites(name) if site else name
        if rc := run_playbook(self._site, played, limit=[server.name], extra=extra, facts=site):
            raise PlaybookError(
                f"{Path(name).name} failed with exit code {rc}",
                where=server.name,
                todo="Correct what Ansible names above, and build the image again.",
            )

    def _as_the_sites(self, playbook: str) -> str:
        """A playbook of the site is a run by itself: facts are variables there, and our plays read files."""
        wrapper = self._place / "site.yml"
        content = {"ansible.builtin.import_playbook": playbook, "vars": protected(self._site.inventory)}
        wrapper.write_text(json.dumps([content]))  # JSON is YAML, and quotes any path
        return str(wrapper)

    def _write_inventory(self, server: Server, ssh: str) -> None:
        """The generated inventory without nodes, and the server as one of the pool."""
        shutil.rmtree(self._site.inventory, ignore_errors=True)
        RunInventory(self._source).write(self._site.inventory, [])
        host = {
            "ansible_host": server.address,
            "ansible_user": self._user,
            "ansible_become": self._user != "root",
            "image_build": True,  # for a site that does some things on nodes only
            # What the inventory says for nodes names the cluster's known_hosts.
            "ansible_ssh_common_args": ssh_options.ansible(self._known_hosts),
            "ansible_ssh_args": f"{ssh} -o KexAlgorithms=^curve25519-sha256",
        }
        groups = {GROUP: {"hosts": {server.name: host}}, group(self._pool): {"hosts": {server.name: {}}}}
        content = {"all": {"children": {"nodes": {"children": groups}}}}
        (self._site.inventory / "builder.json").write_text(json.dumps(literal(content)))

    def _trust(self, server: Server) -> None:
        """Know the host key that the cloud handed out, and no other: both servers have one address."""
        host = (server.name, server.address)
        lines = known_hosts.key_lines(host, server.host_key)
        self._known_hosts.write_text("".join(f"{line}\n" for line in lines))

    def _hang_up(self) -> None:
        """End the shared connection; its server is about to go away."""
        if os.path.lexists(self._socket):
            run(["ssh", *ssh_options.NO_FILE, "-O", "exit", "-S", str(self._socket), "builder"], timeout=10)


def _provenance(text: str) -> dict[str, Any]:
    """Read what an image says of itself: names, and versions of packages and roles; nothing else counts."""
    try:
        said = json.loads(text[:_LONGEST])
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    names = {key: said[key] for key in _NAMES if key in said}
    found: dict[str, Any] = {key: name for key, name in names.items() if name == "" or is_chosen_name(name)}
    for key in _VERSIONS:
        versions = said.get(key)
        if isinstance(versions, dict):
            found[key] = {
                name: version
                for name, version in versions.items()
                if matching(VERSION, name) and (version == "" or matching(VERSION, version))
            }
    return found
