"""What is wanted of a command that takes long, while it is carried out."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from domain.errors import HostFailed, Unavailable
from domain.server.moves.orders import ABORT, Orders
from handlers.messages import Answer, HostCommand, StillWanted
from handlers.ports import Clock

LOOK_SECONDS = 2.0
"""How often it is asked for."""
NOT_WANTED = "It is not wanted any more."

T = TypeVar("T")
ONLY_NOW = ("prepare", "leave")
"""Commands that are wanted only as long as the server is at nothing else."""


def still_wanted(command: HostCommand) -> StillWanted:
    """The question for it."""
    return StillWanted(
        request_id=command.request_id,
        server_id=command.server_id,
        epoch=command.epoch,
        version=command.version,
        kind=command.kind if command.kind in ONLY_NOW else None,
    )


class Guidance:
    """The newest orders that are known. Nobody who asks it waits."""

    def __init__(self, first: Orders | None, ask: Callable[[], Awaitable[Answer]], clock: Clock) -> None:
        self._orders = first or Orders()
        self._ask = ask
        self._clock = clock
        self._unwanted = asyncio.Event()

    def __call__(self) -> Orders:
        return self._orders

    async def follow(self) -> None:
        """Keep it new until cancelled. While nobody answers, what was said last holds."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            with suppress(Unavailable):
                self.take(await self._ask())

    async def while_wanted(self, work: Awaitable[T]) -> T:
        """Do it. Raises HostFailed, and leaves it half done, if it is not wanted any more."""
        working, leaving = asyncio.ensure_future(work), asyncio.create_task(self._unwanted.wait())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise HostFailed(NOT_WANTED)
            return await working
        finally:
            leaving.cancel()
            working.cancel()
            await asyncio.wait({working})

    def take(self, answer: Answer) -> None:
        """What is wanted by now; where nothing is wanted any more it is ended."""
        if not answer.wanted:
            self._orders = Orders(order=ABORT)
            self._unwanted.set()
        elif answer.orders is not None:
            self._orders = answer.orders
