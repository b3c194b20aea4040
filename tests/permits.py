"""Permits for tests that call an adapter themselves; in the product only decide/node/guard.py makes them."""

from collections.abc import Iterable

from slurm_powersave.model.permit import Act, Permit, Row


def permit(act: Act | str, subject: str, node: str = "") -> Permit:
    """Allow an act on a server, or on a node in Slurm."""
    return Permit(Act(act), subject, node or subject, Row.PERSON, "a test")


def permits(act: Act | str, subjects: Iterable[str]) -> list[Permit]:
    """Allow it on each of them."""
    return [permit(act, subject) for subject in subjects]
