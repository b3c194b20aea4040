"""A person's `terraform plan`: the base state and every shard, as one answer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from slurm_powersave.model.errors import PowersaveError
from slurm_powersave.ports.site import Site

# A plan takes a core for about a second and 100 MB.
_AT_ONCE = 2


@dataclass(frozen=True)
class StatePlan:
    """What Terraform would do in one state."""

    name: str
    """base, or CLOUD/nodes-NNN."""
    directory: Path
    actions: dict[str, int] = field(default_factory=dict)
    """Action (create, update, delete, replace) -> how many resources; empty if nothing would change."""
    text: str = ""
    """The plan as Terraform words it; empty if nothing would change."""
    error: str = ""
    """Why there is no plan."""


def plan_all(site: Site) -> Iterator[StatePlan]:
    """Plan in every state of the cluster, with a refresh; nothing is applied.

    A state in which the engine is working can't be planned in; that is an error of this state only.
    """
    root = site.cluster.layout.terraform
    directories = [site.cluster.layout.base, *sorted(root.glob("*/nodes-*"))]
    site.terraform_program().check()

    def plan(directory: Path) -> StatePlan:
        name = str(directory.relative_to(root))
        state = site.directory(directory)
        try:
            planned = state.plan()
        except PowersaveError as error:
            return StatePlan(name, directory, error=str(error))
        state.forget(planned)
        return StatePlan(name, directory, dict(planned.actions), planned.text)

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        yield from pool.map(plan, [path for path in directories if site.directory(path).exists])
