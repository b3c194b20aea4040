"""What is read of a single job."""

from dataclasses import dataclass


@dataclass(frozen=True)
class JobNote:
    """How it stands with a job, and what an administrator, or we, have written to it."""

    state: str
    """In squeue's words; empty if Slurm does not tell."""
    admin_comment: str = ""
