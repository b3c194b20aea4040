"""Bounds what a host may say to Ansible: one that answers without an end would take this host's memory.

ansible-core reads all of a module's output before it looks at it, and keeps it several times: a host whose
Python is `cat /dev/zero` takes gigabytes in seconds, and whatever else runs here goes down with it.
"""

import contextlib
import resource
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: bounded
type: aggregate
short_description: Bounds the output of hosts and the memory of Ansible
description:
  - A host that answers with more than 8 MiB counts as unreachable.
  - A process of Ansible gets 2 GiB at most. In the one that reads an endless answer the task fails.
"""

LONGEST = 8 << 20
"""Characters of an answer; the facts of a large host are 1 MiB."""
MEMORY = 2 << 30
"""Bytes of address space. Ansible needs 240 MiB with 3,000 hosts; what it runs here has the same limit."""


class CallbackModule(CallbackBase):
    """Is loaded for the limits that it sets; it has no events."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "bounded"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _limit_memory()
        if not hasattr(ActionBase, "runs_anything"):
            ActionBase.runs_anything = ActionBase._low_level_execute_command
            ActionBase._low_level_execute_command = _execute


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    # Where memory runs short all the same, Ansible goes first, and not the engine.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _execute(self: ActionBase, *args: Any, **kwargs: Any) -> Any:
    result = self.runs_anything(*args, **kwargs)
    said = sum(len(result.get(stream) or "") for stream in ("stdout", "stderr"))
    if said > LONGEST:
        raise AnsibleConnectionFailure(
            f"the host answered with {said} characters; at most {LONGEST} are read"
        )
    return result
