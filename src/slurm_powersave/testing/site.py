"""A site of which parts are in memory, for tests of commands.

    outside = put_in(monkeypatch.setattr, slurm=MemorySlurm(...), clouds={"mem": MemoryCloud(...)})
    outside.clouds = {}  # the next command finds none

What is not given is the real part: the journal, and all files, are those of the cluster's state directory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurm_powersave import wiring
from slurm_powersave.adapters.ansible.run_inventory import link_others
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands.play_plan import PlayPlan
from slurm_powersave.decide.slurm_files.live_files import LiveFiles
from slurm_powersave.model.cloud_facts import Tools


class MemoryProgram:
    """Implements ports.TerraformProgram for commands that only ask for its version."""

    def check(self) -> str:
        """Return a version."""
        return "1.11.4"

    def tools(self) -> Tools:
        """Return a version, and no providers."""
        return Tools(self.check())


@dataclass
class MemoryPlays:
    """Implements ports.Plays: a play does what a test says."""

    play: Callable[[str, Path, Mapping[str, Any]], int] = lambda playbook, inventory, extra: 0
    plan: Callable[[str, Path, Mapping[str, Any]], PlayPlan] = lambda playbook, inventory, extra: PlayPlan()
    link_others = staticmethod(link_others)

    def run(self, playbook: str, inventory: Path, extra: Mapping[str, Any]) -> int:
        """Do it."""
        return self.play(playbook, inventory, extra)

    def check(self, playbook: str, inventory: Path, extra: Mapping[str, Any], place: Path) -> PlayPlan:
        """Say what it would change."""
        return self.plan(playbook, inventory, extra)

    def version(self) -> Mapping[str, str]:
        """Return a version."""
        return {"version": "0", "git": ""}


@dataclass
class MemoryLoginHost:
    """Implements ports.LoginHost: a host that answers, and its files."""

    files: LiveFiles = field(default_factory=LiveFiles)

    def answers(self, address: str) -> bool:
        """Answer always."""
        return True

    def jump_is_known(self) -> bool:
        """There is no jump host."""
        return True

    def live_files(self) -> LiveFiles:
        """Return the files."""
        return self.files

    def save_logs(self, place: Path) -> Mapping[str, str]:
        """There are none."""
        return {}


@dataclass
class Parts:
    """What takes the place of the real parts; None stands for the real one."""

    slurm: Any = None
    clouds: Mapping[str, Any] | None = None
    image_work: Any = None
    terraform: Any = None
    terraform_program: Any = None
    playbooks: Any = None
    plays: Any = None
    login_host: Any = None
    clock: Any = None
    intake: Callable[[], Any] | None = None
    directory: Callable[[Path], Any] | None = None
    wait: Callable[[float], None] | None = None


class MemorySite(wiring.LiveSite):
    """Implements ports.Site."""

    def __init__(self, cluster: Cluster, outside: Parts) -> None:
        super().__init__(cluster)
        self._outside = outside

    def of(self, cluster: Cluster) -> "MemorySite":
        """Return a site with another cluster value and the same outside."""
        return type(self)(cluster, self._outside)

    anew = of

    @property
    def clock(self) -> Any:
        """Return the given clocks."""
        return self._outside.clock or super().clock

    def wait(self, seconds: float) -> None:
        """Let time go by, as the test does it."""
        (self._outside.wait or super().wait)(seconds)

    def slurm(self) -> Any:
        """Return the given Slurm."""
        return self._outside.slurm or super().slurm()

    def clouds(self) -> dict[str, Any]:
        """Return the given clouds."""
        return super().clouds() if self._outside.clouds is None else dict(self._outside.clouds)

    def cloud(self, name: str) -> Any:
        """Return one of them."""
        return super().cloud(name) if self._outside.clouds is None else self._outside.clouds.get(name)

    def image_work(self, pool: str) -> Any:
        """Return what was given."""
        return self._outside.image_work or super().image_work(pool)

    def terraform(self) -> Any:
        """Return what was given."""
        return self._outside.terraform or super().terraform()

    def terraform_program(self) -> Any:
        """Return what was given."""
        return self._outside.terraform_program or super().terraform_program()

    def directory(self, path: Path) -> Any:
        """Return what was given."""
        return (self._outside.directory or super().directory)(path)

    def playbooks(self) -> Any:
        """Return what was given."""
        return self._outside.playbooks or super().playbooks()

    def plays(self) -> Any:
        """Return what was given."""
        return self._outside.plays or super().plays()

    def intake(self) -> Any:
        """Return what was given."""
        return (self._outside.intake or super().intake)()

    def login_host(self) -> Any:
        """Return what was given."""
        return self._outside.login_host or super().login_host()


def put_in(put: Callable[[object, str, object], None], **parts: Any) -> Parts:
    """Let the wiring make sites with these parts; `put` is monkeypatch.setattr. The result can be changed."""
    outside = Parts(**parts)
    put(wiring, "site", lambda cluster: MemorySite(cluster, outside))
    return outside
