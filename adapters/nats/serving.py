"""Answering requests of many, fairly: what one asks too much is refused, and nobody else waits for it."""

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from adapters.nats.connection import Connection, Message, header_block
from adapters.nats.names import untoken
from domain.errors import HostFailed, Invalid, LightcurveError, Unavailable
from handlers.fleet.refusals import Refusals

_log = logging.getLogger(__name__)

MAX_HANDLED_AT_ONCE = 256
"""Requests that one process works on at the same time."""
MAX_OF_ONE = 32
"""And of these, those of or to one host."""
MAX_WAITING = 512
"""Requests of one host that wait for their turn."""
MAX_WAITING_BYTES = 4 * 1024 * 1024
"""The same, in bytes."""
MAX_REQUEST_BYTES = 1024 * 1024
"""Of one request."""
PATIENCE_SECONDS = 10.0
"""So long somebody who asks waits for the answer."""
ERROR = "Lightcurve-Error"
"""The header of an answer that is an error."""
TOO_MUCH = "Too much is asked at once."
_ANSWER_PLACES = ("_INBOX.", "_R_.")
"""Nothing else is answered, lest somebody has us write where he may not: his own inbox, or the server's
stand-in for one of another account."""

Handler = Callable[[str, bytes], Awaitable[bytes]]


class Route(NamedTuple):
    """What is served on a subject whose last token is a host."""

    subject: str
    queue: str
    """The group that shares the work; empty: nobody does."""
    handle: Handler
    tell_errors: bool
    """Whether who asks learns that the handler failed; else he hears nothing, and asks again."""
    max_bytes: int = MAX_REQUEST_BYTES


class _Waiting(NamedTuple):
    route: Route
    message: Message
    since: float
    """Loop time."""


class _Line:
    """The requests of one host that wait."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.bytes = 0
        self.busy = 0


class Server:
    """Answers requests, several at a time, and the hosts in turn."""

    def __init__(self, connection: Connection, refusals: Refusals) -> None:
        self._connection = connection
        self._refusals = refusals
        self._lines: dict[str, _Line] = {}
        self._turn: deque[str] = deque()
        """Hosts that have requests waiting and may have another one worked on."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, routes: list[Route]) -> None:
        """Serve until cancelled. Raises Unavailable if the connection was closed for good."""
        taps: list[int] = []
        try:
            for route in routes:
                sink = functools.partial(self._on_message, route)
                taps.append(await self._connection.tap(route.subject, sink, route.queue))
            await self._connection.until_closed()
            raise Unavailable("The connection to the log was closed.")
        finally:
            for tap in taps:
                self._connection.untap(tap)
            for task in self._tasks:
                task.cancel()

    def _on_message(self, route: Route, message: Message) -> None:
        token = message.subject.rpartition(".")[2]
        try:
            host = untoken(token)
        except Invalid as error:
            self._refusals.count(token, error.message)
            return
        size = len(message.data) + len(message.raw or b"")
        line = self._lines.setdefault(host, _Line())
        if size > route.max_bytes:
            self._refuse(host, message, f"a message of {size} bytes")
        elif len(line.waiting) >= MAX_WAITING or line.bytes + size > max(MAX_WAITING_BYTES, route.max_bytes):
            self._refuse(host, message, "more at once than has room")
        else:
            if not line.waiting and line.busy < MAX_OF_ONE:
                self._turn.append(host)
            line.waiting.append(_Waiting(route, message, asyncio.get_running_loop().time()))
            line.bytes += size
        self._next()
        self._forget_idle(host)

    def _refuse(self, host: str, message: Message, reason: str) -> None:
        self._refusals.count(host, reason)
        self._answer(message, *told(Unavailable(TOO_MUCH)))

    def _next(self) -> None:
        """Begin what may be begun: one of each host in turn. What has waited too long is left: nobody hears the
        answer, and who asked has asked again. Were it worked on, a service that has fallen behind once would never
        do anything else."""
        loop = asyncio.get_running_loop()
        while self._turn and len(self._tasks) < MAX_HANDLED_AT_ONCE:
            host = self._turn.popleft()
            line = self._lines[host]
            waiting = line.waiting.popleft()
            line.bytes -= len(waiting.message.data) + len(waiting.message.raw or b"")
            given_up = loop.time() - waiting.since > PATIENCE_SECONDS
            line.busy += not given_up
            if line.waiting and line.busy < MAX_OF_ONE:
                self._turn.append(host)
            if given_up:
                self._forget_idle(host)
                continue
            task = loop.create_task(self._handle(host, waiting))
            self._tasks.add(task)
            task.add_done_callback(functools.partial(self._on_done, host))

    def _on_done(self, host: str, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        line = self._lines[host]
        if line.waiting and line.busy == MAX_OF_ONE:
            self._turn.append(host)
        line.busy -= 1
        self._forget_idle(host)
        self._next()

    def _forget_idle(self, host: str) -> None:
        line = self._lines.get(host)
        if line and not line.busy and not line.waiting:
            del self._lines[host]

    async def _handle(self, host: str, waiting: _Waiting) -> None:
        route, message, _ = waiting
        headers = b""
        try:
            answer = await route.handle(host, message.data)
        except Exception as error:  # noqa: BLE001 - a handler's failure must not end the service
            _log.exception("a request of or to host %s failed", host)
            if not route.tell_errors:
                return
            headers, answer = told(error)
        self._answer(message, headers, answer)

    def _answer(self, message: Message, headers: bytes, answer: bytes) -> None:
        if not message.reply.startswith(_ANSWER_PLACES):
            return
        try:
            self._connection.send(message.reply, answer, headers)
        except Invalid:
            _log.exception("the answer on %s cannot be sent", message.subject)


def told(error: Exception) -> tuple[bytes, bytes]:
    """The headers and the body of an answer that is an error."""
    if isinstance(error, HostFailed):
        kind, words = error.code, (error.message, error.details)
    elif isinstance(error, LightcurveError):
        kind, words = Unavailable.code, (error.message, "")
    else:
        kind, words = Unavailable.code, ("The host could not answer.", "")
    return header_block({ERROR: kind}), msgspec.json.encode(words)


def raise_told(answer: Message) -> None:
    """Raise what the answer says if it is an error: HostFailed or Unavailable."""
    kind = answer.headers().get(ERROR)
    if kind is None:
        return
    try:
        message, details = msgspec.json.decode(answer.data, type=tuple[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Unavailable("The answer cannot be read.") from None
    if kind == HostFailed.code:
        raise HostFailed(message, details)
    raise Unavailable(message)
