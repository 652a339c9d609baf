"""Server-sent events: an answer that goes on. https://html.spec.whatwg.org/multipage/server-sent-events.html"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from domain.errors import Refused

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": nothing new\n\n"
"""A comment: it tells the client, and whatever stands between, that the stream lives."""
RETRY_AFTER = 30
"""Seconds until a place among the streams may be free."""

LASTS = "lightcurve.lasts"
"""Key in the scope of a request whose answer has no end of its own."""


def block(identity: str, data: bytes = b"") -> bytes:
    """One event; ``data`` is a single line. Without data nothing happens at the client but that it notes the id."""
    return b"id: %b\n%b\n" % (identity.encode(), b"data: %b\n" % data if data else b"")


class Streams:
    """How many streams one process holds: each costs work with every event, for as long as it is open."""

    def __init__(self, most: int = 64, of_one: int = 8) -> None:
        self._most = most
        self._of_one = of_one
        self._open: Counter[str] = Counter()

    def begin(self, project_id: str) -> Callable[[], None]:
        """Take a place for a project; returns what gives it back. Raises Refused (429)."""
        if self._open[project_id] >= self._of_one or self._open.total() >= self._most:
            raise Refused(
                "request.too_often", "Too many streams of events are open.", status=429, retry_after=RETRY_AFTER
            )
        self._open[project_id] += 1

        def end() -> None:
            self._open[project_id] -= 1
            if not self._open[project_id]:
                del self._open[project_id]

        return end


class EventStream(Response):
    """Sends blocks as they come, until there are no more or the client has gone. Who reads slowly is waited for: no
    block is made before the last one was taken."""

    media_type = MEDIA_TYPE

    def __init__(
        self, blocks: AsyncGenerator[bytes, None], end: Callable[[], None], headers: Mapping[str, str]
    ) -> None:
        """``end`` is called when it is over."""
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no", **headers})
        del self.headers["content-length"]
        self._blocks = blocks
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[LASTS] = True
        gone = asyncio.create_task(_gone(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async with asyncio.timeout(None) as until:
                with _calling(gone, lambda: until.reschedule(asyncio.get_running_loop().time())):
                    await self._pour(send)
        except TimeoutError:
            if not gone.done():
                raise
        finally:
            gone.cancel()
            self._end()

    async def _pour(self, send: Send) -> None:
        async with aclosing(self._blocks) as blocks:
            async for each in blocks:
                await send({"type": "http.response.body", "body": each, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@contextmanager
def _calling(task: "asyncio.Task[None]", then: Callable[[], None]) -> Iterator[None]:
    """Within it, ``then`` is called once the task has ended."""

    def ended(_: "asyncio.Task[None]") -> None:
        then()

    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.remove_done_callback(ended)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
