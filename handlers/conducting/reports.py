"""What hosts report, turned into events. A host cannot write the log: it can only ask us to."""

from collections.abc import Callable
from functools import partial

import msgspec

from domain.errors import Invalid, Refused, Unavailable
from domain.guest import GuestState, PowerState
from domain.log.record import Event, Recorded
from domain.server import deletion, observation, reported
from domain.server.deletion import DELETING
from domain.server.moves import evacuation, live, steering
from domain.server.parts import Fault
from domain.server.state import DELETED, Server, places
from handlers.allowances import Allowances
from handlers.conducting import remains
from handlers.conducting.conductor import Conductor
from handlers.conducting.holdings import Holdings
from handlers.conducting.states import ServerStates
from handlers.context import Context, current_request, on_behalf_of
from handlers.fleet.hosts import Hosts
from handlers.fleet.refusals import Refusals
from handlers.messages import (
    Answer,
    AnyReport,
    Enrolment,
    Failure,
    Observation,
    Outcome,
    StillWanted,
    encode,
    read_report,
)
from handlers.ports import Clock

CHANGES_AT_ONCE, CHANGES_PER_SECOND = 2_000, 1.0
"""How often a host may change what the log says without having been told to: all of its guests at once when it loses
its power, and then again and again. What it may not is left for its next observation."""


class Reports:
    """Handles the reports to one cell. Every report may come twice, late, or for what is no longer so; one that
    cannot be believed is refused and counted."""

    def __init__(
        self,
        states: ServerStates,
        conductor: Conductor,
        holdings: Holdings,
        hosts: Hosts,
        refusals: Refusals,
        clock: Clock,
    ) -> None:
        self._states = states
        self._conductor = conductor
        self._holdings = holdings
        self._hosts = hosts
        self._refusals = refusals
        self._clock = clock
        self._changes = Allowances(clock, CHANGES_AT_ONCE, CHANGES_PER_SECOND)

    async def handle(self, host: str, body: bytes) -> bytes:
        """Take one report, and answer it once its consequences are in the log."""
        try:
            report = read_report(body)
            current_request.set(report.request_id)
            if self._hosts.fenced(host):
                return encode(await self._fenced(host, report))
            return encode(await self._answer(host, report))
        except (Invalid, Refused) as error:
            self._refusals.count(host, error.message)
            return encode(Answer(refused=error.message))

    async def _answer(self, host: str, report: AnyReport) -> Answer:
        match report:
            case Enrolment():
                return await self._enrol(host, report)
            case StillWanted():
                return await self._still_wanted(host, report)
            case Outcome():
                return await self._outcome(host, report)
            case Failure():
                return await self._failure(host, report)
            case Observation():
                return await self._observe(host, report)

    async def _fenced(self, host: str, report: AnyReport) -> Answer:
        """Nothing that it says counts. What must not run there it is told all the same."""
        answer = Answer(wanted=False)
        if isinstance(report, Observation):
            judged = [await self._judge(host, guest) for guest in report.guests]
            answer = Answer(
                wanted=False,
                remove=tuple(guest for each in judged for guest in each.remove),
                give=tuple(guest for each in judged for guest in each.give),
            )
        return msgspec.structs.replace(answer, fenced=True)

    async def _still_wanted(self, host: str, report: StillWanted) -> Answer:
        server = await self._fresh(report.server_id)
        if server and _is_wanted(server, host, report):
            return Answer(orders=steering.orders(server) if steering.is_live(server) else None)
        guest = GuestState(server_id=report.server_id, epoch=report.epoch, power_state=PowerState.NOSTATE)
        return Answer(wanted=False, remove=self._unwanted(server, host, guest))

    async def _enrol(self, host: str, report: Enrolment) -> Answer:
        if report.description.name != host:
            raise Invalid(f"{host} may not enrol as another.")
        if not self._changes.take(host):
            raise Unavailable(f"Host {host} changes too often.")
        context = Context(request_id=report.request_id)
        await self._hosts.enrol(context, self._holdings.ledger, report.host_id, report.description)
        return Answer()

    async def _outcome(self, host: str, report: Outcome) -> Answer:
        server = await self._acting(report)
        if report.kind == deletion.COMMAND:
            if _belongs(server, host, report.epoch) and server and server.task_state == DELETING:
                await self._destroyed(self._context(server, report), server, report)
            return Answer()
        left = evacuation.left_at(server, host, report.epoch) if report.kind == remains.COMMAND else None
        if left:
            context = Context(request_id=report.request_id)
            await self._conductor.clearing.cleared(context, report.server_id, left, without_host=False)
            return Answer()
        server, recorded = await self._record(
            self._context(server, report), server, report.server_id, lambda state: _decide_by(state, host, report)
        )
        if recorded is None:
            return Answer(remove=self._unwanted(server, host, _guest(report)))
        return Answer()

    async def _destroyed(self, context: Context, server: Server, report: Outcome) -> None:
        """A server that is being deleted is gone from a host: from its own last."""
        if server.move is None or report.epoch == server.epoch:
            await self._conductor.finish_delete(context, server, without_host=False)
            return
        await self._holdings.release_claim(context, server.move.id)
        await self._states.execute(context, server.id, deletion.elsewhere_cleared)

    async def _failure(self, host: str, report: Failure) -> Answer:
        fault = Fault(code=500, message=report.message, details=report.details)
        server = await self._acting(report)
        now = self._clock.now()

        def decide(state: Server | None) -> Event | None:
            if not _belongs(state, host, report.epoch):
                return None
            return reported.failed(state, report.kind, report.epoch, report.version, fault, now)

        context = self._context(server, report)
        await self._record(context, server, report.server_id, decide)
        return Answer()

    async def _record(
        self, context: Context, server: Server | None, server_id: str, decide: Callable[[Server | None], Event | None]
    ) -> tuple[Server | None, Recorded | None]:
        """Record what is decided on ``server``; where that ends a move, what it holds is given back before."""
        moving = self._conductor.moving
        if server and decide(server):
            await moving.settle(context, server)
        return await self._states.execute(context, server_id, moving.if_settled(server, decide))

    async def _observe(self, host: str, report: Observation) -> Answer:
        remove: list[GuestState] = []
        give: list[GuestState] = []
        for guest in report.guests:
            if self._states.agrees(host, guest):
                continue
            server = await self._states.get(guest.server_id)
            if not _belongs(server, host, guest.epoch) or evacuation.is_void(server, host, guest.epoch):
                judged = await self._judge(host, guest)
                remove += judged.remove
                give += judged.give
                continue
            decision = partial(_observed, guest, report.versions.get(guest.server_id))
            if decision(server) is None:
                # The server is as its host sees it. Should what is remembered be old, the next observation tells.
                if _observed(guest, None, server) is None:
                    self._states.agree(host, guest)
                continue
            if not self._changes.take(host):
                self._refusals.count(host, "its guests change too often")
                break
            action = server.action if server else None
            context = on_behalf_of(action) if action else Context(request_id=report.request_id)
            await self._states.execute(context, guest.server_id, decision)
        return Answer(remove=tuple(remove), give=tuple(give))

    async def _judge(self, host: str, guest: GuestState) -> Answer:
        """What of a guest must not be there, or not run, as far as that is certain."""
        server = await self._states.get(guest.server_id)
        if self._unwanted(server, host, guest) or evacuation.is_void(server, host, guest.epoch):
            server = await self._fresh(guest.server_id)
        give = (guest,) if evacuation.is_void(server, host, guest.epoch) else ()
        return Answer(remove=self._unwanted(server, host, guest), give=give)

    async def _acting(self, report: Outcome | Failure) -> Server | None:
        """The server, in the action that is reported on if the log knows it so."""
        server = await self._states.get(report.server_id)
        if server is None or server.action is None or server.action.version != report.version:
            server = await self._fresh(report.server_id)
        return server

    async def _fresh(self, server_id: str) -> Server | None:
        """The server as the log has it now: guests are removed on certain knowledge only."""
        self._states.forget(server_id)
        return await self._states.get(server_id)

    def _unwanted(self, server: Server | None, host: str, guest: GuestState) -> tuple[GuestState, ...]:
        """The guest, if the log says that it must not be there; of a deleted server all that it was, in whatever
        assignment, the newest first. An unknown one is left alone."""
        if server is None:
            self._refusals.count(host, f"it has guest {guest.server_id}, of which the log knows nothing")
            return ()
        if server.vm_state == DELETED:
            others = (msgspec.structs.replace(guest, epoch=epoch) for epoch in range(server.newest_epoch, 0, -1))
            return guest, *(other for other in others if other.epoch != guest.epoch)
        known = guest.epoch <= server.newest_epoch
        return (guest,) if known and not _belongs(server, host, guest.epoch) else ()

    @staticmethod
    def _context(server: Server | None, report: Outcome | Failure) -> Context:
        action = server.action if server else None
        if action is None or action.request_id != report.request_id:
            return Context(request_id=report.request_id)
        return on_behalf_of(action)


def _observed(guest: GuestState, version: int | None, server: Server | None) -> Event | None:
    if server is None or (version is not None and version < server.last_action):
        return None
    # One that stands still may be on its way yet.
    if guest.power_state is PowerState.RUNNING and (arrived := live.seen_at_target(server, guest)):
        return arrived
    return observation.power_observed(server, guest.epoch, guest.power_state)


def _belongs(server: Server | None, host: str, epoch: int) -> bool:
    """Whether something of the server may be on that host in that epoch. A deleted one is on none, whatever it last
    was."""
    return server is not None and server.vm_state != DELETED and (host, epoch) in places(server)


def _is_wanted(server: Server, host: str, report: StillWanted) -> bool:
    if not _belongs(server, host, report.epoch) or not server.action or server.action.version != report.version:
        return False
    task = reported.task_of(server)
    return report.kind is None or (task is not None and task.command == report.kind)


def _decide_by(server: Server | None, host: str, report: Outcome) -> Event | None:
    if not _belongs(server, host, report.epoch):
        return None
    return reported.done(server, report.kind, report.version, _guest(report))


def _guest(report: Outcome) -> GuestState:
    return GuestState(
        server_id=report.server_id,
        epoch=report.epoch,
        power_state=report.power_state,
        downtime_ms=report.downtime_ms,
    )
