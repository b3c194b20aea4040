"""A world whose time limits are over before an engine that was away is back."""

from slurm_powersave.testing.world import MemoryWorld

SHORT = {"boot_timeout": 15, "registration_timeout": 15, "configure_timeout": 15}
"""Limits that are over before the engine is back."""


def new_world(**failure: object) -> MemoryWorld:
    """One node whose new flavor would be as large as slurm.conf says."""
    pool = MemoryWorld.of(1).cluster.node_pools[0].model_dump(mode="json")
    pool |= {"real_memory": 500, "cpus": 1}
    world = MemoryWorld.of(1, failure=SHORT | failure, node_pools=[pool])
    world.run(2)
    return world
