"""How far projections have read: announced to everybody at once, and the last word kept for newcomers."""

import asyncio
import heapq
import itertools
import logging
from functools import lru_cache

from adapters.nats.connection import ApiError, Connection, Message, NoAnswer
from adapters.nats.names import Names
from adapters.nats.streams import ensure, fleeting
from domain.errors import LightcurveError

_log = logging.getLogger(__name__)

LOOK_AGAIN = 0.25
"""Seconds after which a waiter asks for the last word kept: an announcement on its way into the stream while the
subscription was made is heard by neither."""

_MANY = 1000


class NatsPositions:
    """Positions of projections over all cells; promises what ``handlers.ports.Positions`` does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._announced: dict[tuple[str, str], int] = {}
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._count = itertools.count()
        self._refreshing: asyncio.Task[None] | None = None
        connection.on_reconnect(self._on_reconnect)

    async def announce(self, projection: str, cell: str, position: int) -> None:
        """A projection says that it answers with everything up to ``position``. Never waits."""
        key = projection, cell
        self._announced[key] = max(position, self._announced.get(key, 0))
        self._tell(key)

    async def reached(self, projection: str, cell: str, position: int, timeout: float) -> bool:
        key = projection, cell
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = _Watched()
            await self._connection.tap(_subject(projection, cell), watched.on_message)
            await self._refresh(key, watched)
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        while watched.position < position:
            left = deadline - clock()
            if left <= 0:
                return False
            if not await self._wait(watched, position, min(left, LOOK_AGAIN)):
                await self._refresh(key, watched)
        return True

    async def _wait(self, watched: "_Watched", position: int, timeout: float) -> bool:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        watched.add(position, next(self._count), future)
        timer = loop.call_later(timeout, _give_up, future)
        try:
            return await future
        finally:
            timer.cancel()
            future.cancel()

    def _tell(self, key: tuple[str, str]) -> None:
        self._connection.send(_subject(*key), str(self._announced[key]).encode())

    async def _refresh(self, key: tuple[str, str], watched: "_Watched") -> None:
        projection, cell = key
        try:
            last = await self._connection.call(f"$JS.API.DIRECT.GET.{Names(cell).positions}.{_subject(*key)}")
        except NoAnswer as problem:
            _log.info("the position of %s in cell %s is not known yet: %s", projection, cell, problem)
            return
        if not last.status:
            watched.on_message(last)

    def _on_reconnect(self) -> None:
        if not self._connection.is_closed:
            self._refreshing = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        """The stream is in the server's memory: after a restart it has to be made and filled again."""
        try:
            for cell in {cell for _, cell in self._announced}:
                await ensure(self._connection, fleeting(Names(cell)))
            for key in self._announced:
                self._tell(key)
            for key, watched in list(self._watched.items()):
                await self._refresh(key, watched)
        except (ApiError, NoAnswer, LightcurveError) as problem:
            _log.warning("positions could not be renewed: %s", problem)


@lru_cache(maxsize=64)
def _subject(projection: str, cell: str) -> str:
    return Names(cell).position(projection)


class _Watched:
    def __init__(self) -> None:
        self.position = 0
        self.waiting: list[tuple[int, int, asyncio.Future[bool]]] = []

    def add(self, position: int, number: int, future: "asyncio.Future[bool]") -> None:
        if len(self.waiting) > _MANY:
            # A projection that stands still must not gather those who gave up.
            self.waiting = [waiter for waiter in self.waiting if not waiter[2].done()]
            heapq.heapify(self.waiting)
        heapq.heappush(self.waiting, (position, number, future))

    def on_message(self, message: Message) -> None:
        position = int(message.data)
        if position <= self.position:
            return
        self.position = position
        while self.waiting and self.waiting[0][0] <= position:
            future = heapq.heappop(self.waiting)[2]
            if not future.done():
                future.set_result(True)


def _give_up(future: "asyncio.Future[bool]") -> None:
    if not future.done():
        future.set_result(False)
