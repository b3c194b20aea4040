"""Reading a cloud's answer: one that does not have the expected form is an error of the cloud."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from slurm_powersave.model.errors import CloudError

P = ParamSpec("P")
R = TypeVar("R")

# A key that is missing, a text in the place of a list, a number without an end, JSON that is too deep.
_OTHER_SHAPE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def raises_cloud_error(call: Callable[P, R]) -> Callable[P, R]:
    """Raise a CloudError if an answer does not have the expected form: the cloud is unreadable then."""

    @functools.wraps(call)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except _OTHER_SHAPE as error:
            raise CloudError("the cloud's answer can't be read", why=repr(error)[:200]) from error

    return checked
