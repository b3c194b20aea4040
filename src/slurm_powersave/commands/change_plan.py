"""What `deploy` and `resize` would do to files and daemons: shown first, then looked at again, then done.

The play itself tells it, in check mode and with the inventory that it would be run with. After a person has
answered it is asked again: what was not shown is not done.
"""

import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slurm_powersave.commands import apply_slurm_conf
from slurm_powersave.commands.base_state import NO_WISH, Wish
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands.play_plan import PlayPlan, differences
from slurm_powersave.decide.slurm_files.inventory import Inventory
from slurm_powersave.model.errors import PlaybookError, RefusedError, SlurmError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.ports.site import Site

DEPLOY = "deploy.yml"


@dataclass(frozen=True)
class Seen:
    """A plan that was shown, and how it is made again."""

    plan: PlayPlan
    again: Callable[[], PlayPlan] = field(default=PlayPlan)
    moving: Collection[str] = ()
    """The nodes: Slurm powers them up and down meanwhile."""

    def refuse_other(self) -> None:
        """Make the plan again.

        Raises:
            RefusedError: something would be done now that was not shown, or would not be done any more.
        """
        refuse_other(differences(self.plan, self.again(), self.moving))


def refuse_other(found: Collection[str]) -> None:
    """Do nothing but what was shown.

    Raises:
        RefusedError: it differs.
    """
    if found:
        raise RefusedError(
            f"what is to be done is not what was shown any more: {', '.join([*found][:20])}",
            todo="Nothing was changed. Run it again: it shows the new plan.",
        )


def look(
    site: Site,
    playbook: str,
    make: Callable[[], Inventory],
    wish: Wish = NO_WISH,
    *,
    removes: bool = False,
) -> Seen:
    """Ask a play what it would change on its hosts. `leaves`: nodes go that may still be in use.

    Raises:
        PlaybookError: Ansible could not be run.
    """
    cluster, plays = site.cluster, site.plays()

    def plan() -> PlayPlan:
        # Beside the real inventory: Ansible takes the playbooks' paths and a site's files from there.
        place = Path(tempfile.mkdtemp(prefix="plan-", dir=cluster.layout.root))
        try:
            inventory = place / "inventory"
            apply_slurm_conf.write(inventory, make())
            plays.link_others(cluster.layout.inventory, inventory)
            extra = {
                "slurmctld_replace_foreign": wish.replace_foreign,
                "slurmctld_replace_edits": wish.replace_edits,
                "slurmctld_planned": removes,
                "leaving_planned": removes,
            }
            return plays.check(playbook, inventory, extra, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    return Seen(plan(), plan, cluster.nodes())


def show(dialog: Dialog, plan: PlayPlan, playbook: str) -> None:
    """Show what a play would change.

    Raises:
        PlaybookError: it would be refused there; nothing was changed.
    """
    if lines := plan.lines():
        dialog.show("\n".join(lines))
    if plan.refused:
        raise PlaybookError(f"{playbook} would be refused", why=plan.refused, todo="Nothing was changed.")


@dataclass
class Files:
    """What `deploy` does to files and daemons, as the person is shown it."""

    site: Site
    dialog: Dialog
    wish: Wish
    make: Callable[[], Inventory]
    seen: Seen = field(default_factory=lambda: Seen(PlayPlan()))
    servers: tuple[str, ...] = ()
    """What becomes of the base state's servers, in words."""
    wakes: tuple[str, ...] = ()
    """The nodes that are powered up because they are always to be up."""

    def show(self, *, fresh: bool, servers: Sequence[str] = ()) -> bool:
        """Show it; return whether there is anything, or may be. `fresh`: the login node is a new one.

        Raises:
            PlaybookError: the play would be refused; nothing was changed.
        """
        self.servers = tuple(servers)
        for line in servers:
            self.dialog.say(line)
        self.wakes = tuple(self.site.cluster.persistent() if fresh else _off(self.site, self.dialog))
        if fresh:
            self.dialog.say(everything(self.site.cluster))
        else:
            self.dialog.say(f"ansible-playbook {DEPLOY} in check mode: what would change on its hosts")
            self.seen = look(self.site, DEPLOY, self.make, self.wish)
            show(self.dialog, self.seen.plan, DEPLOY)
            if self.seen.plan.nothing and self.seen.plan.whole:
                self.dialog.say("No file and no daemon would change.")
        if self.wakes:
            self.dialog.say(creates(self.wakes))
        return fresh or bool(self.wakes) or not (self.seen.plan.nothing and self.seen.plan.whole)

    def agree(self) -> bool:
        """Show it and ask; False if the person said no. For a deploy that has no servers to make.

        Raises:
            RefusedError: something else would be done now than was shown.
        """
        if self.show(fresh=False):
            if not self.dialog.ask("Do this?"):
                return False
            if not self.dialog.unasked:
                self.refuse_other()
        return True

    def refuse_other(self) -> None:
        """Raise RefusedError if something else would be done now than was shown."""
        self.seen.refuse_other()


def _off(site: Site, dialog: Dialog) -> list[str]:
    """Name the nodes that are always to be up, and are powered down: those that the play powers up."""
    try:
        known = site.slurm().snapshot().nodes
    except SlurmError as error:
        dialog.say(f"Slurm can't be asked which nodes are up: {error.line}")
        return []
    return [name for name in site.cluster.persistent() if name not in known or _is_off(known[name])]


def _is_off(node: SlurmNode) -> bool:
    return node.has("POWERED_DOWN") and not (node.powering_up or node.has("POWER_UP", "DRAIN", "DOWN"))


def everything(cluster: Cluster) -> str:
    """Say what is written where there is no login node yet that could be asked."""
    files = "hosts, munge key, slurm.conf with its companions, and the hooks"
    return f"{cluster.login.name} is new, so there is nothing to compare with: {files} are written there"


def creates(names: Collection[str]) -> str:
    """Say which nodes are made because they are always to be up."""
    return f"min_nodes: Slurm powers up {fold(names)}, and the engine creates what has no server"
