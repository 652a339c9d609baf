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

    def __len__(self) -> int:
        return len(self._left)

    def has(self, name: str, amount: float = 1) -> bool:
        """Whether so much is left."""
        return self._now(name).amount >= amount

    def take(self, name: str, amount: float = 1) -> bool:
        """Use so much of it; False, and nothing is used, if there is less."""
        left = self._now(name)
        allowed = left.amount >= amount
        self._keep(name, _Left(left.amount - (amount if allowed else 0), left.at))
        return allowed

    def charge(self, name: str) -> None:
        """Use one, also where there is less: what is owed has to be gained first. For what is found out too late
        to be refused."""
        left = self._now(name)
        self._keep(name, _Left(left.amount - 1, left.at))

    def _keep(self, name: str, left: _Left) -> None:
        self._left.pop(name, None)
        self._left[name] = left
        if len(self._left) > REMEMBERED:
            del self._left[next(iter(self._left))]

    def _now(self, name: str) -> _Left:
        now = self._clock.now()
        left = self._left.get(name, _Left(self._at_once, now))
        gained = max(0.0, (now - left.at).total_seconds()) * self._per_second
        return _Left(min(float(self._at_once), left.amount + gained), now)
