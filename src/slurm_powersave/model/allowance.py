"""How much of something is taken: a burst, and so much a second after it."""


class Allowance:
    """A bound on what another machine may cause. Times are given, so that it knows no clock."""

    def __init__(self, burst: float, rate: float) -> None:
        """`burst` may be taken at once; `rate` is given back each second."""
        self._burst, self._rate = burst, rate
        self._left, self._at = burst, float("-inf")

    def take(self, cost: float, now: float) -> bool:
        """Take so much and return True, or nothing and False. More than a burst passes when all is there."""
        if now > self._at:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < min(cost, self._burst):
            return False
        self._left -= cost
        return True
