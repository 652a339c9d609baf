"""Whether a host may carry out what it is told: a machine that was cut off, or declared dead, must not go on as if
nothing had happened."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta

from domain.errors import Unavailable
from handlers.messages import Answer
from handlers.ports import Delivery

FENCED_SECONDS = 10.0
"""How often a host that is fenced asks whether it still is."""
SILENCE = timedelta(seconds=90)
"""Nobody has answered the host for so long: what it is told may have been given up meanwhile, so it asks first. It is
longer than the pause between two of its observations."""
FENCED = "This host was declared dead."


class Gate:
    """One host's: closed until it was let in and has ended what must not be there, and whenever it is fenced."""

    def __init__(self) -> None:
        self.open = False
        self.known = asyncio.Event()
        """It was opened once, or was told that it stays closed."""
        self._answered: datetime | None = None

    def let_in(self) -> None:
        self.open = True
        self.known.set()

    def heard(self, answer: Answer, now: datetime) -> None:
        """The control plane has answered."""
        self._answered = now
        if answer.fenced:
            self.open = False
            self.known.set()

    def silent(self, now: datetime) -> bool:
        """Whether it has not answered for long."""
        return self._answered is None or now - self._answered > SILENCE


def check(answer: Answer) -> Answer:
    """The answer to what has to count. Raises Unavailable where it does not, since the host is fenced."""
    if answer.fenced:
        raise Unavailable(FENCED)
    return answer


async def again(delivery: Delivery, seconds: float) -> None:
    """Have a command come again later; it does so by itself, should that not be heard."""
    with suppress(Unavailable):
        await delivery.retry(seconds)
