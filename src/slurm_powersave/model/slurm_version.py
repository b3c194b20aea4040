"""A version of Slurm as two numbers: versions are never compared as text."""

import re
from dataclasses import dataclass, field

_VERSION = re.compile(
    r"([0-9]{1,2})\.([0-9]{1,2})(?:\.[0-9]{1,3})?(?:-[0-9A-Za-z.]{1,20}|rc[0-9]{1,2})?", re.ASCII
)


@dataclass(frozen=True, order=True)
class Version:
    """A version of Slurm. Only its year and month count: 26.05.5 and 26.05.0-0rc1 are equal."""

    year: int
    month: int
    text: str = field(default="", compare=False)
    """As it was read, such as 26.05.5."""

    @classmethod
    def of(cls, text: str) -> "Version":
        """Read a version as a person or Slurm writes it.

        Raises:
            ValueError: it is none.
        """
        match = _VERSION.fullmatch(text)
        if not match or not 1 <= int(match[2]) <= 12:
            raise ValueError(f"{text[:40]!r} is no version of Slurm; two numbers in quotes such as '22.05'")
        return cls(int(match[1]), int(match[2]), text)

    def __str__(self) -> str:
        """Write the two numbers that count."""
        return f"{self.year:02}.{self.month:02}"
