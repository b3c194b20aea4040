"""The mode table: what each kind of request does to a node, as data.

Taken from the table at the end of eiffel-ohpc's README (deploy, resume, suspend, enlarge, shrink,
update), with ResumeFailProgram's request added.
"""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What was asked for."""

    RESUME = "resume"
    SUSPEND = "suspend"
    RESUME_FAIL = "resume-fail"
    REBOOT = "reboot"


@dataclass(frozen=True)
class ModeRow:
    """One column of the mode table: which steps a node goes through."""

    delete: bool
    create: bool
    configure: bool
    terraform_actions: frozenset[tuple[str, ...]]
    """The `actions` lists of Terraform's plan JSON that the fence lets through."""
    return_to_service: bool = False
    """Whether the node is given back to Slurm by RESUME when the delete is verified."""


TABLE: dict[Mode, ModeRow] = {
    Mode.RESUME: ModeRow(
        delete=False, create=True, configure=True, terraform_actions=frozenset({("create",)})
    ),
    Mode.SUSPEND: ModeRow(
        delete=True, create=False, configure=False, terraform_actions=frozenset({("delete",)})
    ),
    Mode.RESUME_FAIL: ModeRow(
        delete=True,
        create=False,
        configure=False,
        terraform_actions=frozenset({("delete",)}),
        return_to_service=True,
    ),
}
"""Modes without a row are recorded and refused with a reason."""
