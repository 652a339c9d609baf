"""A circuit breaker: after one has waited in vain for the log, the others do not wait as long, one after the other.

A server whose disk is full goes on answering questions, but keeps silent about what it is told to store, until it is
started again.
"""

import asyncio

from domain.errors import Unavailable

PATIENCE_SECONDS = 10.0
"""After which an append, or a page, is given up; a server that restarts is back well within them."""
TRIAL_SECONDS = 2.0
"""Between two trials while it is silent; no trial takes longer."""
RETRY_AFTER = 5
"""Seconds after which it makes sense to ask again."""


class Silent(Unavailable):
    """The log has not answered for a while. Nothing was sent."""

    retry_after = RETRY_AFTER

    def __init__(self) -> None:
        super().__init__("The log does not answer; nothing can be recorded now.")


class Breaker:
    """What this process knows of whether the log answers."""

    def __init__(self) -> None:
        self._next_trial: float | None = None
        """While it is silent; in the loop's time."""

    def admit(self) -> float:
        """The seconds for which an append may try. Raises Silent if it need not."""
        if self._next_trial is None:
            return PATIENCE_SECONDS
        now = asyncio.get_running_loop().time()
        if now < self._next_trial:
            raise Silent
        self._next_trial = now + TRIAL_SECONDS
        return TRIAL_SECONDS

    @property
    def patience(self) -> float:
        """The seconds for which a question may try."""
        return PATIENCE_SECONDS if self._next_trial is None else TRIAL_SECONDS

    def unanswered(self) -> None:
        """An append was given up."""
        self._next_trial = asyncio.get_running_loop().time() + TRIAL_SECONDS

    def answered(self) -> None:
        """The log takes appends, or there is reason to think so."""
        self._next_trial = None
