"""Command queues, reports and questions in memory."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NoReturn

from adapters.memory.broker import DUPLICATE_WINDOW, Broker, Cell, Command, Faults, NoFaults, Responder
from domain.errors import HostFailed, LightcurveError, Unavailable

_log = logging.getLogger(__name__)

REPORT_TIMEOUT = 10.0
"""Seconds until a report without an answer counts as failed."""

Handler = Callable[[str, bytes], Awaitable[bytes]]


class MemoryDelivery:
    """A host command in the hands of an agent; see ``handlers.ports.Delivery``."""

    def __init__(self, broker: Broker, cell: Cell, command: Command) -> None:
        self._broker = broker
        self._cell = cell
        self._command = command
        command.deliveries += 1
        self._attempt = command.deliveries

    @property
    def attempt(self) -> int:
        return self._attempt

    @property
    def body(self) -> bytes:
        return self._command.body

    async def done(self) -> None:
        if self._command.deadline is not None:
            self._command.deadline.cancel()
            self._command.deadline = None
        queue = self._cell.queues[self._command.host]
        if self._command in queue:
            queue.remove(self._command)

    async def working(self) -> None:
        if self._command.deadline is not None:
            self.again_after(self._broker.ack_wait)

    async def retry(self, delay: float) -> None:
        if self._command.deadline is not None:
            self.again_after(delay)

    def again_after(self, seconds: float) -> None:
        """Unless something else happens, put it back into the queue then."""
        if self._command.deadline is not None:
            self._command.deadline.cancel()
        self._command.deadline = self._broker.later(seconds, self._put_back)

    def _put_back(self) -> None:
        self._command.deadline = None
        self._cell.queues[self._command.host].appendleft(self._command)
        self._cell.queued.give()


class MemoryCommandBus:
    """The command queues and reports of one cell; promises what ``handlers.ports.CommandBus`` does."""

    def __init__(
        self,
        broker: Broker,
        cell: str,
        faults: Faults | None = None,
        *,
        report_timeout: float = REPORT_TIMEOUT,
    ) -> None:
        self._broker = broker
        self._cell = broker.cell(cell)
        self._faults: Faults = faults or NoFaults()
        self._report_timeout = report_timeout

    async def send(self, host: str, command_id: str, body: bytes) -> None:
        await self._faults.before("send")
        now = self._broker.now()
        sent = self._cell.sent
        if now - sent.get(command_id, -DUPLICATE_WINDOW) >= DUPLICATE_WINDOW:
            sent[command_id] = now
            queue = self._cell.queues.setdefault(host, deque())
            queue.append(Command(host, self._broker.number(), body))
            self._cell.queued.give()
        await self._faults.after("send")

    async def receive(self, hosts: list[str]) -> AsyncIterator[MemoryDelivery]:
        while True:
            command = self._take(hosts)
            if command is None:
                await self._cell.queued.wait()
                continue
            delivery = MemoryDelivery(self._broker, self._cell, command)
            delivery.again_after(self._broker.ack_wait)
            copies = self._faults.copies("command")
            if copies:
                await self._faults.before("command")
            for _ in range(copies):
                yield delivery

    def _take(self, hosts: list[str]) -> Command | None:
        queues = [queue for host in hosts if (queue := self._cell.queues.get(host))]
        if not queues:
            return None
        return min(queues, key=lambda queue: queue[0].number).popleft()

    async def report(self, host: str, body: bytes) -> bytes:
        """As in the port. While there is no conductor it waits for one."""
        await self._faults.before("report")
        copies = self._faults.copies("report")
        try:
            answer = await self._broker.within(self._report_timeout, self._conducted(host, body, copies))
        except TimeoutError:
            raise Unavailable("No conductor answers.") from None
        await self._faults.after("report")
        return answer

    async def _conducted(self, host: str, body: bytes, copies: int) -> bytes:
        while not self._cell.conductors:
            await self._cell.conductor_came.wait()
        tasks = []
        for _ in range(copies):
            conductors = self._cell.conductors
            responder = conductors[next(self._cell.turn) % len(conductors)]
            tasks.append(responder.start(host, body))
        for task in tasks:
            await asyncio.wait((task,))
            if not task.cancelled() and task.exception() is None:
                return task.result()
            _log.info("a report of host %s was not handled", host, exc_info=_error(task))
        # Lost, failed, or its conductor died: nobody ever answers.
        return await _nothing()

    async def serve_reports(self, handle: Handler) -> None:
        responder = Responder(handle)
        self._cell.conductors.append(responder)
        self._cell.conductor_came.give()
        try:
            await _nothing()
        finally:
            self._cell.conductors.remove(responder)
            responder.end()

    async def ask(self, host: str, question: bytes, timeout: float = 10.0) -> bytes:
        await self._faults.before("ask")
        responder = self._cell.hosts.get(host)
        if responder is None:
            raise Unavailable(f"Host {host} does not listen.")
        try:
            return await self._broker.within(timeout, self._answered(responder, host, question))
        except TimeoutError:
            raise Unavailable(f"Host {host} does not answer.") from None

    async def _answered(self, responder: Responder, host: str, question: bytes) -> bytes:
        task = responder.start(host, question)
        await asyncio.wait((task,))
        if task.cancelled():
            # The host died over it: nobody ever answers.
            return await _nothing()
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, HostFailed):
            raise HostFailed(error.message, error.details)
        if isinstance(error, LightcurveError):
            raise Unavailable(error.message)
        raise Unavailable("The host could not answer.")

    async def serve_questions(self, hosts: list[str], handle: Handler) -> None:
        responder = Responder(handle)
        self._cell.hosts.update(dict.fromkeys(hosts, responder))
        try:
            await _nothing()
        finally:
            for host in hosts:
                if self._cell.hosts.get(host) is responder:
                    del self._cell.hosts[host]
            responder.end()


async def _nothing() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody ends this")


def _error(task: "asyncio.Task[bytes]") -> BaseException | None:
    return None if task.cancelled() else task.exception()
