"""Commands to hosts through a work queue; their reports and answers through plain requests."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from adapters.nats.connection import ApiError, Connection, Message, NoAnswer, NobodyThere, header_block
from adapters.nats.names import Names, token
from adapters.nats.pull import WORKING, Pull, PullLost
from adapters.nats.serving import PATIENCE_SECONDS, Handler, Route, Server, raise_told
from adapters.nats.streams import NANOSECONDS
from domain.errors import Unavailable
from domain.fleet.host import is_simulated
from handlers.fleet.refusals import Refusals

_log = logging.getLogger(__name__)

ACK_WAIT = 10.0
"""Seconds after which a command that nobody calls done, or still works on, is delivered again."""
MAX_UNDONE = 1000
"""Commands that one receiver has in its hands at most."""
SEND_TIMEOUT = 5.0
REPORT_TIMEOUT = PATIENCE_SECONDS
"""Seconds until a report without an answer counts as failed."""
MAX_ADMISSION_BYTES = 4 * 1024 * 1024
"""Of a request to be admitted, which names each host that is served."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Of a host's answer to a question; a console's log is the longest."""
CONDUCTORS = "conductor"
"""The queue group that shares the reports."""
_RETRY = 0.1
_REFUSED_RETRY = 1.0


class NatsDelivery:
    """A host command in the hands of an agent; see ``handlers.ports.Delivery``."""

    def __init__(self, connection: Connection, message: Message) -> None:
        self._connection = connection
        self._message = message

    @property
    def body(self) -> bytes:
        return self._message.data

    @property
    def attempt(self) -> int:
        # $JS.ACK.<stream>.<consumer>.<delivered>.… ; newer servers put domain and account before the stream.
        tokens = self._message.reply.split(".")
        return int(tokens[4] if len(tokens) == 9 else tokens[6])

    async def done(self) -> None:
        """Never deliver it again. If the server misses this, it does; agents stand that."""
        self._connection.send(self._message.reply, b"+ACK")

    async def working(self) -> None:
        self._connection.send(self._message.reply, WORKING)

    async def retry(self, delay: float) -> None:
        wait = msgspec.json.encode({"delay": int(delay * NANOSECONDS)})
        self._connection.send(self._message.reply, b"-NAK " + wait)


class NatsCommandBus:
    """The command queues and reports of one cell; promises what ``handlers.ports.CommandBus`` does.

    ``name`` names the durable consumer of a receiver for many hosts, so that it finds its undelivered and
    undone commands again after a restart, also when its list of hosts has changed.
    """

    def __init__(
        self,
        connection: Connection,
        cell: str,
        *,
        name: str | None = None,
        ack_wait: float = ACK_WAIT,
        report_timeout: float = REPORT_TIMEOUT,
        refusals: Refusals | None = None,
    ) -> None:
        self._connection = connection
        self._names = Names(cell)
        self._name = name
        self._ack_wait = ack_wait
        self._report_timeout = report_timeout
        self._refusals = refusals or Refusals()

    async def send(self, host: str, command_id: str, body: bytes) -> None:
        headers = header_block({"Nats-Msg-Id": token(command_id)})
        clock = asyncio.get_running_loop().time
        deadline = clock() + SEND_TIMEOUT
        while True:
            try:
                answer = await self._connection.call(
                    self._names.command(host), body, headers, max(0.1, (deadline - clock()) / 2)
                )
            except NoAnswer as problem:
                # Sent again it is stored once, by its id.
                if clock() + _RETRY > deadline:
                    raise Unavailable(f"The command queue does not answer: {problem}") from None
                await asyncio.sleep(_RETRY)
            else:
                error = msgspec.json.decode(answer.data).get("error")
                if error is not None:
                    raise Unavailable(f"The command queue refuses a command: {error.get('description')}")
                return

    async def receive(self, hosts: list[str]) -> AsyncIterator[NatsDelivery]:
        """The commands for these hosts, for ever; what is not ``done`` after ``ack_wait`` comes again.

        Survives restarts of the server, and waits for a conductor to admit it. Raises Unavailable only if the
        connection was closed for good. What waits here undelivered is kept from being delivered elsewhere.
        """
        name = self._receiver(hosts)
        while True:
            try:
                await self._ensure_consumer(name, hosts)
                pull = Pull(self._connection, self._names.commands, token(name), self._ack_wait)
                async with aclosing(pull.messages()) as messages:
                    async for message in messages:
                        yield NatsDelivery(self._connection, message)
            except (NoAnswer, PullLost, ApiError, Unavailable) as problem:
                if self._connection.is_closed:
                    raise Unavailable(f"The command queue is gone: {problem}") from None
                refused = isinstance(problem, ApiError | Unavailable)
                _log.log(logging.WARNING if refused else logging.INFO, "%s takes no commands: %s", name, problem)
                await asyncio.sleep(_REFUSED_RETRY if refused else _RETRY)

    def _receiver(self, hosts: list[str]) -> str:
        if self._name is not None:
            return self._name
        if len(hosts) == 1:
            return hosts[0]
        return f"hosts-{hashlib.sha256(','.join(sorted(hosts)).encode()).hexdigest()[:16]}"

    async def _ensure_consumer(self, name: str, hosts: list[str]) -> None:
        """Have the consumer made by a conductor: a host has no right to. Who has the right does it alone while
        there is no conductor."""
        request = msgspec.json.encode(hosts)
        try:
            answer = await self._connection.call(self._names.receiver(name), request)
        except NobodyThere:
            await self._make_consumer(token(name), hosts)
        else:
            raise_told(answer)

    async def _admit(self, name: str, request: bytes) -> bytes:
        """Make a receiver's consumer. A host is admitted under its own name, for itself; one process may serve any
        number of simulated hosts, which have a credential of their own."""
        try:
            hosts = msgspec.json.decode(request, type=list[str])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            hosts = []
        if not hosts or (hosts != [name] and not all(is_simulated(host) for host in hosts)):
            self._refusals.count(name, "it asked for the commands of others")
            raise Unavailable(f"The receiver {name} may not take these commands.")
        try:
            await self._make_consumer(token(name), hosts)
        except (NoAnswer, ApiError) as error:
            raise Unavailable(f"The command queue refuses the receiver {name}: {error}") from error
        return b""

    async def _make_consumer(self, consumer: str, hosts: list[str]) -> None:
        config = {
            "name": consumer,
            "durable_name": consumer,
            "ack_policy": "explicit",
            "ack_wait": int(self._ack_wait * NANOSECONDS),
            "deliver_policy": "all",
            "replay_policy": "instant",
            "max_ack_pending": MAX_UNDONE,
            "max_waiting": 64,
            "filter_subjects": sorted({self._names.command(host) for host in hosts}),
        }
        stream = self._names.commands
        await self._connection.api(f"CONSUMER.CREATE.{stream}.{consumer}", {"stream_name": stream, "config": config})

    async def report(self, host: str, body: bytes) -> bytes:
        """Tell a conductor; see the port. Repeats itself while no conductor is there or the connection is away."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._report_timeout
        while True:
            try:
                answer = await self._connection.call(
                    self._names.report(host), body, timeout=max(0.01, deadline - clock())
                )
                raise_told(answer)
                return answer.data
            except NoAnswer as problem:
                if clock() + _RETRY > deadline:
                    raise Unavailable(f"No conductor answers: {problem}") from None
                await asyncio.sleep(_RETRY)

    async def serve_reports(self, handle: Handler) -> None:
        """As in the port. Raises Unavailable if the connection ended for good."""
        reports = Route(self._names.report("*"), CONDUCTORS, handle, tell_errors=False)
        receivers = Route(self._names.receiver("*"), CONDUCTORS, self._admit, tell_errors=True,
                          max_bytes=MAX_ADMISSION_BYTES)  # fmt: skip
        await Server(self._connection, self._refusals).run([reports, receivers])

    async def ask(self, host: str, question: bytes, timeout: float = PATIENCE_SECONDS) -> bytes:
        try:
            answer = await self._connection.call(self._names.question(host), question, timeout=timeout)
        except NobodyThere:
            raise Unavailable(f"Host {host} does not listen.") from None
        except NoAnswer as problem:
            raise Unavailable(f"Host {host} does not answer: {problem}") from None
        if len(answer.data) > MAX_ANSWER_BYTES:
            self._refusals.count(host, f"an answer of {len(answer.data)} bytes")
            raise Unavailable(f"Host {host} answers more than was asked.")
        raise_told(answer)
        return answer.data

    async def serve_questions(self, hosts: list[str], handle: Handler) -> None:
        routes = [Route(self._names.question(host), "", handle, tell_errors=True) for host in hosts]
        await Server(self._connection, self._refusals).run(routes)
