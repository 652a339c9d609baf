"""How often somebody may do something: so many times at once, and then so many a second."""

from datetime import datetime
from typing import NamedTuple

from handlers.ports import Clock

REMEMBERED = 10_000
"""Those who have used some of theirs; the one who did so first makes room."""


class _Left(NamedTuple):
    amount: float
    at: datetime


class Allowances:
    """One for each name. An allowance that is not used fills up again."""

    def __init__(self, clock: Clock, at_once: int, per_second: float) -> None:
        self._clock = clock
        self._at_once = at_once
        self._per_second = per_second
        self._left: dict[str, _Left] = {}

    def take(self, name: str) -> bool:
        """Use it once; False if there is nothing left."""
        now = self._clock.now()
        left = self._left.pop(name, _Left(self._at_once, now))
        gained = max(0.0, (now - left.at).total_seconds()) * self._per_second
        amount = min(float(self._at_once), left.amount + gained)
        allowed = amount >= 1
        self._left[name] = _Left(amount - allowed, now)
        if len(self._left) > REMEMBERED:
            del self._left[next(iter(self._left))]
        return allowed
