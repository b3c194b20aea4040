"""Flavors of a cloud."""

from slurm_powersave.model.nodes import Flavor

FLAVORS = {
    "local": {
        "small": Flavor("small", vcpus=1, ram=1024),
        "large": Flavor("large", vcpus=8, ram=16000),
        "huge": Flavor("huge", vcpus=6, ram=64000),
    }
}
