"""Where a cloud's answer is taken apart: one of another shape than it should have is the cloud's error."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from slurm_powersave.model.errors import CloudError

P = ParamSpec("P")
R = TypeVar("R")

# A key that is missing, a text in the place of a list, a number without an end, JSON that is too deep.
_OTHER_SHAPE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def read_as_told(call: Callable[P, R]) -> Callable[P, R]:
    """Make what can't be read in an answer a CloudError: then the cloud counts as unreadable."""

    @functools.wraps(call)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except _OTHER_SHAPE as error:
            raise CloudError("the cloud's answer can't be read", why=repr(error)[:200]) from error

    return told
