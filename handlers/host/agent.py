"""The compute agent: takes its hosts' commands, has the hypervisor carry them out, and reports.

A command leaves its queue only after its outcome is in the log, so a crash at any moment only repeats work, and
all work is idempotent.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import TypeVar

import msgspec

from domain.errors import HostFailed, LightcurveError, Unavailable
from domain.guest import GuestState, PowerState
from handlers.context import Stamp, current_request
from handlers.fleet.liveness import keep_beating
from handlers.host.answering import answer
from handlers.host.carrying_out import ALWAYS_WANTED, ASK_FIRST, CANNOT_FAIL, COPIES, STEERED, execute
from handlers.host.gate import FENCED_SECONDS, Gate, again, check
from handlers.host.guidance import Guidance, still_wanted
from handlers.host.removing import remove, tell
from handlers.messages import (
    MAX_DETAILS,
    MAX_GUESTS,
    MAX_MESSAGE,
    Answer,
    Enrolment,
    Failure,
    HostCommand,
    Observation,
    Outcome,
    Report,
    answer_decoder,
    clean,
    command_decoder,
    encode,
    question_decoder,
)
from handlers.ports import CommandBus, Delivery, Hypervisor, Liveness

log = logging.getLogger(__name__)

WORKING_SECONDS = 3.0
"""How often the queue is told that a long command is still being worked on."""
RETRY_SECONDS = 2.0
MAX_RETRY_SECONDS = 300.0
"""What cannot be done again and again is tried less and less often."""
OBSERVE_SECONDS = 60.0
"""How often the power of all guests is reported, should an event have been lost."""
DESTROY_ATTEMPTS = 15
"""Times that a guest is tried to be removed, over a quarter of an hour, before the command leaves the queue."""
CLEARING_ATTEMPTS = 15
"""Times that guests which must not be here are tried to be removed before this host takes part with them."""
MAX_AT_ONCE = 200
REMEMBERED = 100_000
"""Servers whose last command is remembered."""

T = TypeVar("T")
Guest = tuple[str, str]
"""A host, and a server that has something there."""
Done = tuple[tuple[int, str, int], Report]
"""Version, kind and epoch of a command, and what came of it."""


class Agent:
    """Serves one host, or many simulated ones. ``host_ids`` gives each host's identity for ever, by name;
    ``keep_tickets`` is told what opens the images that the commands are about."""

    def __init__(
        self,
        hypervisors: Mapping[str, Hypervisor],
        host_ids: Mapping[str, str],
        bus: CommandBus,
        liveness: Liveness,
        stamp: Stamp,
        keep_tickets: Callable[[Mapping[str, str]], None] = lambda _: None,
    ) -> None:
        self._hypervisors = hypervisors
        self._host_ids = host_ids
        self._bus = bus
        self._liveness = liveness
        self._stamp = stamp
        self._keep_tickets = keep_tickets
        self._newest: dict[Guest, int] = {}
        """The newest command version seen: older ones are skipped."""
        self._done: dict[Guest, Done] = {}
        """The last command carried out, and its outcome."""
        self._locks: dict[Guest, asyncio.Lock] = {}
        """One for each guest that has commands in hand."""
        self._in_hand: Counter[Guest] = Counter()
        self._copying: dict[Guest, tuple[int, asyncio.Task[None]]] = {}
        """Copies under way, with the version of the server that asked for them."""
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._gates = {host: Gate() for host in hypervisors}
        self._enrolled = asyncio.Semaphore(0)

    async def run(self) -> None:
        """Serve until cancelled. Raises LightcurveError if a host may not take part."""
        async with asyncio.TaskGroup() as group:
            for host in self._hypervisors:
                group.create_task(self._serve_host(host))
            group.create_task(self._bus.serve_questions(list(self._hypervisors), self._answer_question))
            await self._work(group)

    async def enrolled(self) -> None:
        """Wait until every host takes part, or knows that it is fenced."""
        for _ in self._hypervisors:
            await self._enrolled.acquire()

    async def _serve_host(self, host: str) -> None:
        takes_part = await self._enrol(host)
        # What must not be here ends before anything is taken, and before anybody counts on this host.
        attempts = 0
        while (left := await self._observe_guests(host)) is None or (left and attempts < CLEARING_ATTEMPTS):
            attempts += 1
            await self._stamp.clock.sleep(RETRY_SECONDS)
        if takes_part:
            self._gates[host].let_in()
        self._enrolled.release()
        facts: dict[str, object] = {"host_id": self._host_ids[host]}
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_beating(self._liveness, self._stamp.clock, f"compute/{host}", facts))
            group.create_task(self._watch(host))
            group.create_task(self._observe_all(host))

    async def _enrol(self, host: str) -> bool:
        """Whether it takes part: not while it is fenced. Raises LightcurveError if it may not."""
        description = await self._until_it_answers(self._hypervisors[host].describe)
        report = Enrolment(request_id=self._request_id(), host_id=self._host_ids[host], description=description)
        answer = await self._report(host, report)
        if answer.refused:
            raise LightcurveError(answer.refused)
        return not answer.fenced

    async def _work(self, group: asyncio.TaskGroup) -> None:
        for gate in self._gates.values():
            await gate.known.wait()
        async with aclosing(self._bus.receive(list(self._hypervisors))) as deliveries:  # type: ignore[type-var]
            async for delivery in deliveries:
                command = await self._read(delivery)
                if command is None:
                    continue
                if not self._gates[command.host].open:
                    await again(delivery, FENCED_SECONDS)
                    continue
                if command.kind == "destroy":
                    self._cut_short(command)
                await self._slots.acquire()
                # The lock is taken in the order of arrival: commands of one server keep their order.
                guest = command.host, command.server_id
                lock = self._locks.setdefault(guest, asyncio.Lock())
                self._in_hand[guest] += 1
                group.create_task(self._handle(command, delivery, lock))

    def _cut_short(self, command: HostCommand) -> None:
        """A guest that shall go waits for no copy of it. The command that asked for that comes again, and is too old
        then."""
        version, copying = self._copying.get((command.host, command.server_id), (command.version, None))
        if copying and version < command.version:
            log.info("a copy of server %s ends: it is removed", command.server_id)
            copying.cancel()

    async def _read(self, delivery: Delivery) -> HostCommand | None:
        """The command; None if it is of a version that this agent does not know yet, or for a simulated host that is
        not played now: it comes again."""
        try:
            command = command_decoder.decode(delivery.body)
            if command.host in self._hypervisors:
                return command
            log.warning("a command for %s is put off: that host is not here", command.host)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("a command is not understood: %s", error)
        await again(delivery, MAX_RETRY_SECONDS)
        return None

    async def _handle(self, command: HostCommand, delivery: Delivery, lock: asyncio.Lock) -> None:
        current_request.set(command.request_id)
        heart = asyncio.create_task(self._keep_working(delivery))
        guest = command.host, command.server_id
        try:
            async with lock:
                if command.kind in COPIES and (task := asyncio.current_task()):
                    self._copying[guest] = command.version, task
                try:
                    await self._carry_out(command, ask=self._is_doubtful(command, again=delivery.attempt > 1))
                finally:
                    self._copying.pop(guest, None)
            await delivery.done()
        except Unavailable as error:
            await self._put_off(command, delivery, error)
        finally:
            heart.cancel()
            self._slots.release()
            self._in_hand[guest] -= 1
            if not self._in_hand[guest]:
                del self._in_hand[guest], self._locks[guest]

    async def _put_off(self, command: HostCommand, delivery: Delivery, error: Unavailable) -> None:
        with suppress(Unavailable):
            if isinstance(error.__cause__, HostFailed) and delivery.attempt >= DESTROY_ATTEMPTS:
                # Its place in the queue is wanted by others. Should the guest be seen, it is removed on sight.
                log.error("%s of server %s is given up: %s", command.kind, command.server_id, error)
                await delivery.done()
            else:
                log.warning("%s of server %s put off: %s", command.kind, command.server_id, error)
                await delivery.retry(error.retry_after or _pause(delivery.attempt))

    def _is_doubtful(self, command: HostCommand, *, again: bool) -> bool:
        now = self._stamp.clock.now()
        silent = self._gates[command.host].silent(now)
        late = command.deadline is not None and now >= command.deadline
        # What names one assignment only can do no harm to another.
        return command.kind not in ALWAYS_WANTED and (
            again or silent or command.repeated or late or command.kind in ASK_FIRST
        )

    async def _keep_working(self, delivery: Delivery) -> None:
        while True:
            await self._stamp.clock.sleep(WORKING_SECONDS)
            with suppress(Unavailable):
                await delivery.working()

    async def _carry_out(self, command: HostCommand, *, ask: bool) -> None:
        guest = command.host, command.server_id
        if command.version < self._newest.get(guest, 0):
            return
        which = command.version, command.kind, command.epoch
        done, report = self._done.get(guest, (None, None))
        if report is None or done != which:
            guidance = self._guidance(command)
            if ask and not await self._still_wanted(command, guidance):
                return
            self._newest[guest] = command.version
            self._keep_tickets(command.image_tickets)
            report = await self._try(command, guidance)
            self._remember(guest, (which, report))
        await self._remove_all(command, check(await self._report(command.host, report)).remove)

    def _remember(self, guest: Guest, done: Done) -> None:
        self._done[guest] = done
        if len(self._done) > REMEMBERED:
            oldest = next(iter(self._done))
            del self._done[oldest]
            self._newest.pop(oldest, None)

    async def _still_wanted(self, command: HostCommand, guidance: Guidance) -> bool:
        answer = check(await self._report(command.host, still_wanted(command)))
        await self._remove_all(command, answer.remove)
        guidance.take(answer)
        return answer.wanted

    def _guidance(self, command: HostCommand) -> Guidance:
        async def ask() -> Answer:
            return check(answer_decoder.decode(await self._bus.report(command.host, encode(still_wanted(command)))))

        return Guidance(command.orders, ask, self._stamp.clock)

    async def _try(self, command: HostCommand, guidance: Guidance) -> Report:
        try:
            state = await self._try_to_execute(command, guidance)
        except HostFailed as error:
            log.warning("%s of server %s failed: %s %s", command.kind, command.server_id, error, error.details)
            if command.kind in CANNOT_FAIL:
                raise Unavailable(error.message) from error
            return Failure(
                request_id=command.request_id,
                kind=command.kind,
                server_id=command.server_id,
                epoch=command.epoch,
                version=command.version,
                message=clean(error.message, MAX_MESSAGE),
                details=clean(error.details, MAX_DETAILS),
            )
        log.info("%s of server %s done", command.kind, command.server_id)
        return Outcome(
            request_id=command.request_id,
            kind=command.kind,
            server_id=command.server_id,
            epoch=command.epoch,
            version=command.version,
            power_state=state.power_state if state else PowerState.NOSTATE,
            downtime_ms=state.downtime_ms if state else None,
        )

    async def _try_to_execute(self, command: HostCommand, guidance: Guidance) -> GuestState | None:
        """Whatever goes wrong with one command, the others go on. Raises HostFailed, Unavailable."""
        following = asyncio.create_task(guidance.follow()) if command.kind in STEERED else None
        try:
            return await execute(self._hypervisors[command.host], command, guidance)
        except LightcurveError:
            raise
        except Exception as error:
            log.exception("%s of server %s", command.kind, command.server_id)
            raise HostFailed("The host failed unexpectedly.", f"{type(error).__name__}: {error}") from error
        finally:
            if following:
                following.cancel()

    async def _watch(self, host: str) -> None:
        """Report guests that change by themselves, for as long as the hypervisor can be reached at all."""
        while True:
            try:
                async with aclosing(self._hypervisors[host].watch()) as events:  # type: ignore[type-var]
                    async for event in events:
                        if (host, event.state.server_id) not in self._locks:
                            await self._observe(host, (event.state,))
            except Exception as error:  # noqa: BLE001 - whatever it is, guests are looked at again
                tell("watching %s is interrupted: %s", host, error)
            await self._stamp.clock.sleep(RETRY_SECONDS)
            await self._observe_guests(host)

    async def _observe_all(self, host: str) -> None:
        gate = self._gates[host]
        while True:
            await self._stamp.clock.sleep(OBSERVE_SECONDS if gate.open else FENCED_SECONDS)
            seen = await self._observe_guests(host) is not None
            if seen and not gate.open and await self._enrol(host):
                gate.let_in()

    async def _observe_guests(self, host: str) -> int | None:
        """How many that must not be here are; None if they could not be looked at."""
        try:
            guests = await self._hypervisors[host].guests()
        except Exception as error:  # noqa: BLE001 - whatever it is, commands go on
            tell("the guests of %s cannot be listed: %s", host, error)
            return None
        idle = self._idle(host, tuple(guests))
        left = 0
        for first in range(0, len(idle), MAX_GUESTS):
            left += await self._observe(host, idle[first : first + MAX_GUESTS])
        return left

    async def _observe(self, host: str, guests: tuple[GuestState, ...]) -> int:
        versions = {
            guest.server_id: version
            for guest in guests
            if (version := self._newest.get((host, guest.server_id))) is not None
        }
        report = Observation(request_id=self._request_id(), guests=guests, versions=versions)
        answer = await self._report(host, report)
        # A server that got a command meanwhile is left to that; the next observation comes soon.
        left = await remove(self._hypervisors[host], self._idle(host, answer.remove))
        for guest in self._idle(host, answer.give):
            if self._newest.get((host, guest.server_id)) != versions.get(guest.server_id):
                continue  # it was told something since: perhaps that its server stays
            log.warning("guest %s is powered off: it is being made anew on another host", guest.server_id)
            try:
                await self._hypervisors[host].give(guest.server_id, 0.0)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again on the next sight
                tell("guest %s is not powered off: %s", guest.server_id, error)
                left += 1
        return left

    def _idle(self, host: str, guests: tuple[GuestState, ...]) -> tuple[GuestState, ...]:
        return tuple(guest for guest in guests if (host, guest.server_id) not in self._locks)

    async def _remove_all(self, command: HostCommand, guests: tuple[GuestState, ...]) -> None:
        """Raises Unavailable if something is left. The command keeps its place in the queue then: of a guest that was
        given away only a disk is here, which nobody sees."""
        if left := await remove(self._hypervisors[command.host], guests):
            cause = HostFailed(f"{left} of {len(guests)} assignments of the server are not removed.")
            raise Unavailable(cause.message) from cause

    async def _report(self, host: str, report: Report) -> Answer:
        """Tell the conductor, for as long as it takes: what was done must not be lost."""
        body = encode(report)

        async def send() -> bytes:
            return await self._bus.report(host, body)

        answer = answer_decoder.decode(await self._until_it_answers(send))
        self._gates[host].heard(answer, self._stamp.clock.now())
        if answer.refused:
            log.error("%s of host %s is refused: %s", type(report).__name__, host, answer.refused)
        return answer

    async def _until_it_answers(self, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except (Unavailable, HostFailed) as error:
                log.warning("trying again: %s", error)
                await self._stamp.clock.sleep(RETRY_SECONDS)

    async def _answer_question(self, host: str, question: bytes) -> bytes:
        asked = question_decoder.decode(question)
        current_request.set(asked.request_id)
        return await answer(self._hypervisors[host], asked)

    def _request_id(self) -> str:
        return f"req-{self._stamp.ids.uuid()}"


def _pause(attempt: int) -> float:
    """Seconds until a command that could not be carried out comes again."""
    return min(RETRY_SECONDS * 1.5 ** min(attempt - 1, 30), MAX_RETRY_SECONDS)
