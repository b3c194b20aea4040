"""The only cloud of a cluster, as `check` asks it."""

from collections.abc import Collection

from slurm_powersave.commands import deploy
from slurm_powersave.decide.commands.play_plan import PlayPlan
from slurm_powersave.model.cloud_facts import CloudFacts, ImageFacts
from slurm_powersave.model.nodes import Flavor

AGREED = deploy.Deployed(True, PlayPlan(), (), ())
FACTS = CloudFacts(
    asked=("local cloud in /cloud",),
    images=(ImageFacts("default", "default"),),
    flavors={"small": Flavor("small", 1, 1024), "login": Flavor("login", 1, 1024)},
)


class OneCloud:
    """A cloud that tells what it is given, or fails."""

    def __init__(self, facts: CloudFacts | Exception) -> None:
        self.told = facts

    def facts(self, images: Collection[str] = ()) -> CloudFacts:
        if isinstance(self.told, Exception):
            raise self.told
        return self.told
