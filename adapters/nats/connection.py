"""One connection to NATS: nats-py's client, with cheaper requests and raw subscriptions.

A request through nats-py costs some hundred microseconds of CPU, most of it in a task and a queue for each
subscription and in a timer built of tasks. Every command and every event passes here, so this class
hands messages to plain callbacks, and keeps the rest (connecting, reconnecting, the protocol).
"""

import asyncio
import itertools
import logging
import ssl
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.errors import Error

from adapters.nats.hard_of_hearing import ended, within
from domain.errors import Invalid, Unavailable

T = TypeVar("T")

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 10.0
"""Seconds until a first connection has to stand."""
RECONNECT_WAIT = 0.05
"""Seconds between two attempts to connect again."""
CALL_TIMEOUT = 5.0
"""Seconds that a request waits for its answer unless told otherwise."""
PING_INTERVAL = 10
"""Seconds; a peer that is silent for three of them is gone."""
_PENDING_BYTES = 64 * 1024 * 1024
MAX_LINE = 4000
"""Bytes of a protocol line that we send at most; NATS ends the connection over one of more than 4,096."""


class Credentials(NamedTuple):
    """Who we are for the NATS server."""

    user: str
    password: str


class NoAnswer(Exception):
    """A request was not answered: it may or may not have been carried out."""


class NobodyThere(NoAnswer):
    """Nobody listens on the subject: the request was not carried out."""


class ApiError(Exception):
    """JetStream refused a request."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{description} ({code}/{err_code})")
        self.code = code
        self.err_code = err_code
        self.description = description


class Message(NamedTuple):
    """A message as it came, its headers not yet parsed."""

    subject: str
    reply: str
    data: bytes
    raw: bytes | None

    @property
    def status(self) -> int:
        """The status that a server's control message carries; 0 for an ordinary message."""
        raw = self.raw
        return int(raw[9:12]) if raw is not None and raw[8:9] == b" " else 0

    @property
    def description(self) -> str:
        """The words beside the status."""
        return "" if self.raw is None else self.raw[12 : self.raw.index(b"\r\n")].decode().strip()

    def headers(self) -> dict[str, str]:
        """The headers, names as they were sent."""
        if self.raw is None:
            return {}
        lines = self.raw.decode(errors="replace").split("\r\n")
        found = {}
        for index in range(1, len(lines) - 2):
            name, _, value = lines[index].partition(":")
            found[name] = value.strip()
        return found


Sink = Callable[[Message], None]


class _Call(NamedTuple, Generic[T]):
    sink: Sink
    future: asyncio.Future[T]


def header_block(headers: dict[str, str]) -> bytes:
    """Headers on the wire. Names and values must be free of line ends."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"NATS/1.0\r\n{lines}\r\n".encode()


class Connection(Client):
    """A connection that comes back by itself, for ever. Open it with ``connect``."""

    def __init__(self) -> None:
        super().__init__()
        self._taps: dict[int, Sink] = {}
        self._calls: dict[str, _Call[Any]] = {}
        self._count = itertools.count(1)
        self._inbox = ""
        self._up = asyncio.Event()
        self._gone = asyncio.Event()
        self._last_problem = "no answer"
        self._reconnect_callbacks: dict[int, Callable[[], None]] = {}

    async def open(
        self,
        url: str,
        name: str,
        credentials: Credentials | None,
        timeout: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Connect; raises Unavailable if that does not succeed within ``timeout`` seconds."""
        try:
            await within(timeout, self._open(url, name, credentials, tls))
        except TimeoutError:
            await self.close()
            raise Unavailable(f"NATS at {url} does not let us in: {self._last_problem}") from None
        self._up.set()

    async def _open(self, url: str, name: str, credentials: Credentials | None, tls: ssl.SSLContext | None) -> None:
        user, password = credentials or (None, None)
        await self.connect(
            url.split(","),
            name=name,
            user=user,
            password=password,
            inbox_prefix=f"_INBOX.{user or 'any'}",
            connect_timeout=2,
            reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # seconds, also fractions
            max_reconnect_attempts=-1,
            ping_interval=PING_INTERVAL,
            pending_size=_PENDING_BYTES,
            tls=tls,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
        )
        inbox = self.new_inbox()
        self._inbox = f"{inbox}."
        await self.tap(f"{inbox}.*", self._on_answer)

    async def close(self) -> None:
        """Close for good; whatever tried to come back has given up when this returns."""
        await super().close()
        task = self._reconnection_task
        if task is not None and task is not asyncio.current_task():
            await ended(task)

    # -- subscriptions ---------------------------------------------------------------------------------

    async def tap(self, subject: str, sink: Sink, queue: str = "") -> int:
        """Have ``sink`` called with each message on ``subject``, at once and in order; returns the tap's number.

        The sink must not block; what it raises is logged and lost. The subscription outlives reconnects.
        """
        number = self._sid + 1
        self._taps[number] = sink
        await self.subscribe(subject, queue=queue, cb=_unused)
        return number

    def untap(self, number: int) -> None:
        """End a subscription; never waits."""
        subscription = self._subs.pop(number, None)
        if self._taps.pop(number, None) is None or subscription is None:
            return
        subscription._stop_processing()  # noqa: SLF001 - unsubscribe() would have to be awaited
        if self.is_connected:
            self._write(f"UNSUB {number}\r\n".encode())

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        sink = self._taps.get(sid)
        if sink is None:
            return
        try:
            sink(Message(subject.decode(), reply.decode(), data, headers))
        except Exception:  # noqa: BLE001 - whatever it is, the connection has to live
            # It would end the reading of the connection.
            _log.exception("a message on %s could not be taken", subject)

    # -- sending ---------------------------------------------------------------------------------------

    def _write(self, command: bytes) -> None:
        self._pending.append(command)
        self._pending_data_size += len(command)
        queue = self._flush_queue
        if queue is not None and queue.empty() and self.is_connected:
            queue.put_nowait(asyncio.get_running_loop().create_future())

    def send(self, subject: str, payload: bytes = b"", headers: bytes = b"", reply: str = "") -> None:
        """Send without waiting for anything. While the connection is away the message is kept for its return,
        or dropped if too much is kept already. Raises Invalid for more, or a longer subject, than the server
        takes."""
        if len(headers) + len(payload) > self._max_payload:
            # The server would end the connection over it.
            raise Invalid(f"A message of {len(payload)} bytes is too large for the log.")
        if self.is_closed or (not self.is_connected and self._pending_data_size > _PENDING_BYTES):
            return
        if headers:
            head = f"HPUB {subject} {reply} {len(headers)} {len(headers) + len(payload)}\r\n"
        else:
            head = f"PUB {subject} {reply} {len(payload)}\r\n"
        line = head.encode()
        if len(line) > MAX_LINE:
            raise Invalid(f"A subject of {len(subject)} characters is too long for the log.")
        self._write(b"".join((line, headers, payload, b"\r\n")))

    async def call(
        self, subject: str, payload: bytes = b"", headers: bytes = b"", timeout: float = CALL_TIMEOUT
    ) -> Message:
        """One request, one answer. Raises NoAnswer: after ``timeout`` seconds, if nobody listens there, or if the
        connection goes away meanwhile."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def sink(message: Message) -> None:
            if future.done():
                return
            if message.raw is not None and message.status == 503:
                future.set_exception(NobodyThere(f"nobody answers on {subject}"))
            else:
                future.set_result(message)

        return await self._exchange(subject, payload, headers, timeout, _Call(sink, future))

    async def fetch(self, subject: str, payload: bytes, timeout: float = CALL_TIMEOUT) -> list[Message]:
        """One request that is answered by many messages and an end mark. Raises NoAnswer, ApiError."""
        future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        found: list[Message] = []

        def sink(message: Message) -> None:
            if future.done():
                return
            status = message.status
            if status == 0:
                found.append(message)
            elif status in {204, 404}:
                found.append(message)
                future.set_result(found)
            elif status == 503:
                future.set_exception(NobodyThere(f"nobody answers on {subject}"))
            else:
                future.set_exception(ApiError(status, 0, message.description))

        return await self._exchange(subject, payload, b"", timeout, _Call(sink, future))

    async def _exchange(self, subject: str, payload: bytes, headers: bytes, timeout: float, call: _Call[T]) -> T:
        if not self.is_connected:
            await self.until_connected(timeout)
        token = str(next(self._count))
        self._calls[token] = call
        timer = asyncio.get_running_loop().call_later(timeout, _expire, call.future, subject)
        try:
            self.send(subject, payload, headers, self._inbox + token)
            return await call.future
        finally:
            timer.cancel()
            self._calls.pop(token, None)

    def _on_answer(self, message: Message) -> None:
        call = self._calls.get(message.subject[len(self._inbox) :])
        if call is not None:
            call.sink(message)

    async def api(self, name: str, request: Any = None, timeout: float = CALL_TIMEOUT) -> dict[str, Any]:
        """One call of the JetStream API, ``STREAM.INFO.x``. Raises NoAnswer, ApiError."""
        payload = b"" if request is None else msgspec.json.encode(request)
        answer: dict[str, Any] = msgspec.json.decode(
            (await self.call(f"$JS.API.{name}", payload, timeout=timeout)).data
        )
        error = answer.get("error")
        if error is None:
            return answer
        if error["code"] == 503:
            raise NoAnswer(error.get("description", "JetStream is not ready"))
        raise ApiError(error["code"], error.get("err_code", 0), error.get("description", ""))

    # -- coming and going ------------------------------------------------------------------------------

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport is not None:
            # nats-py forgets the socket of an attempt that failed half-way.
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(s)

    def _connect_command(self) -> bytes:
        if "tls" in self.options and not self._server_info.get("tls_required"):
            # Whoever stands between us and the server must not talk us out of it: the password comes next.
            raise Error("the server does not speak TLS")
        return super()._connect_command()

    async def until_connected(self, timeout: float) -> None:
        """Wait for the connection. Raises NoAnswer after ``timeout`` seconds, or if it was closed for good."""
        try:
            async with asyncio.timeout(timeout):
                while not self.is_connected:
                    if self.is_closed:
                        raise NoAnswer(f"the connection was closed: {self._last_problem}")
                    self._up.clear()
                    await self._up.wait()
        except TimeoutError:
            raise NoAnswer(f"not connected: {self._last_problem}") from None

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called after each return of the connection; returns what ends that."""
        number = next(self._count)
        self._reconnect_callbacks[number] = callback

        def end() -> None:
            self._reconnect_callbacks.pop(number, None)

        return end

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, OSError) and "authorization" in self._last_problem.lower():
            # The server says so and hangs up: the first is what matters.
            return
        before, self._last_problem = self._last_problem, str(error) or type(error).__name__
        refused = "authorization" in self._last_problem.lower() and before != self._last_problem
        _log.log(logging.WARNING if refused else logging.DEBUG, "NATS: %s", self._last_problem)

    async def _on_disconnected(self) -> None:
        for call in list(self._calls.values()):
            if not call.future.done():
                call.future.set_exception(NoAnswer("the connection was lost"))

    async def _on_reconnected(self) -> None:
        self._up.set()
        for callback in list(self._reconnect_callbacks.values()):
            callback()

    async def until_closed(self) -> None:
        """Wait until the connection was closed for good: by us, or by a server that does not want us."""
        await self._gone.wait()

    async def _on_closed(self) -> None:
        self._gone.set()
        await self._on_disconnected()
        await self._on_reconnected()


async def connect(
    url: str,
    name: str,
    credentials: Credentials | None = None,
    timeout: float = CONNECT_TIMEOUT,
    tls: ssl.SSLContext | None = None,
) -> Connection:
    """A connection to the servers at ``url`` (several separated by commas); with ``tls`` inside it, or not at all.

    Raises Unavailable if none lets us in within ``timeout`` seconds. Once made, it comes back by itself.
    """
    connection = Connection()
    await connection.open(url, name, credentials, timeout, tls)
    return connection


def _expire(future: asyncio.Future[Any], subject: str) -> None:
    if not future.done():
        future.set_exception(NoAnswer(f"no answer in time on {subject}"))


async def _unused(_: Msg) -> None:
    """Satisfies nats-py; messages go to the tap."""
