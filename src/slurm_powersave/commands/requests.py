"""Requests that a person makes; those of the hooks come through the intake."""

import uuid

from slurm_powersave.config.settings import Cluster
from slurm_powersave.model import hostlist
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request


def operator_request(cluster: Cluster, mode: Mode, expression: str, now: float, words: str = "") -> Request:
    """Make a request for the nodes of a hostlist expression.

    A person's mistake is told at once and nothing is asked for; a hook's request is served in part
    instead, because nobody is there to correct it. `words` say what a reboot is to be
    (`decide.reboot.asked`).

    Raises:
        HostlistError: a part of the expression is malformed or not configured.
    """
    nodes = hostlist.expand(expression, frozenset(cluster.nodes()))
    return Request(str(uuid.uuid4()), mode, hostlist.fold(nodes), now, source="operator", action=words)
