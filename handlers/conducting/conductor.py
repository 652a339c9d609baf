"""The conductor: brings every server to where its events want it.

It is level-triggered. An event only wakes it; what to do is decided by ``next_step`` on the server's state alone.
A lost, repeated or reordered wake-up changes nothing, and whatever is unfinished is looked at again when it is due.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime

from domain.errors import HostFailed, Invalid, LightcurveError, NoCapacity, OutOfOrder, Refused, Stale, Unavailable
from domain.guest import GuestSpec
from domain.log.record import Recorded
from domain.placement import grouping
from domain.placement.scheduling import NO_VALID_HOST
from domain.server import creation, deletion, reported
from domain.server.actions import create_image, unshelve
from domain.server.creation import ServerPlaced
from domain.server.moves import course, steering
from domain.server.moves.move import Place as HostPlace
from domain.server.parts import Fault, UnderWay
from domain.server.state import Server, places
from domain.server.steps import (
    Abandon,
    ChooseTarget,
    ClearRemains,
    Command,
    Confirm,
    DropImage,
    Expire,
    FinishConfirm,
    FinishDelete,
    FinishOffload,
    FinishReturn,
    GiveUp,
    Leave,
    Offload,
    Place,
    destroy,
    guest_spec,
    next_step,
)
from handlers.conducting.attention import Attention
from handlers.conducting.holdings import Holdings
from handlers.conducting.leftovers import Leftovers, ReadServers
from handlers.conducting.lost import Lost
from handlers.conducting.moving import Moving
from handlers.conducting.remains import Clearing
from handlers.conducting.states import ServerStates
from handlers.context import Context, Stamp, current_request, on_behalf_of
from handlers.fleet.hosts import Hosts
from handlers.fleet.views import HostViews
from handlers.host.image_tickets import SENDING, ImageTickets
from handlers.messages import HostCommand, encode
from handlers.neighbours import Images
from handlers.ports import CommandBus, EventStore
from handlers.together import together

log = logging.getLogger(__name__)

RESEND_SECONDS = 60.0
"""A command without outcome is sent again, each time after twice as long: mostly it lies in its queue, behind others.
The host knows what it has done."""
RETRY_SECONDS = 1.0
LATE_SECONDS = 2.0
"""Between two looks at what should have ended, and is waited for all the same."""
MAX_RETRY_SECONDS = 30.0
"""How long after a failed attempt the next one is made, at first and at the most."""


class Conductor:
    """One cell's conductor. Several may run: each step is guarded or idempotent."""

    def __init__(
        self,
        store: EventStore,
        states: ServerStates,
        holdings: Holdings,
        hosts: Hosts,
        host_up: Callable[[str], bool],
        bus: CommandBus,
        stamp: Stamp,
        read_servers: ReadServers,
        leftovers: Leftovers,
        images: Images,
        tickets: ImageTickets | None = None,
        listener: Callable[[Recorded, Server | None], None] = lambda _recorded, _state: None,
    ) -> None:
        """``listener`` is told every event of a server, with the state after it, as far as that is known."""
        self._store = store
        self._states = states
        self._holdings = holdings
        self._hosts = hosts
        self._host_up = host_up
        self._bus = bus
        self._stamp = stamp
        self._read_servers = read_servers
        self._leftovers = leftovers
        self._images = images
        self._tickets = tickets
        self._listener = listener
        self.attention = Attention(self._try_advance, stamp.clock)
        self.moving = Moving(states, holdings, hosts, host_up, bus, stamp)
        self._lost = Lost(states, hosts, bus, stamp)
        self.clearing = Clearing(states, holdings, hosts, host_up, bus, stamp)
        self._sent: dict[str, tuple[str, float, int]] = {}
        """Per server: the command sent last, when (loop time), how many times."""
        self._failures: Counter[str] = Counter()
        """Attempts in a row that failed."""

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self.attention.run())

    async def _follow(self) -> None:
        while True:
            try:
                server_ids, position = await self._read_servers.unfinished()
                break
            except Unavailable as error:
                log.warning("cannot learn yet what is under way: %s", error)
                await self._stamp.clock.sleep(RETRY_SECONDS)
        # What happened before we came was seen to: only what is unfinished at the end of it is to be looked at.
        past: dict[str, str] | None = dict.fromkeys(server_ids, "")
        async with aclosing(self._store.follow(position, "server")) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for recorded in batch:
                    if past is None:
                        self.take(recorded)
                    else:
                        self._note(recorded, past)
                if not batch:
                    for server_id, project_id in (past or {}).items():
                        self.attention.open(server_id, project_id)
                    past = None

    def take(self, recorded: Recorded) -> None:
        """An event of a server: remember it, and look whether something is to do."""
        server_id = recorded.aggregate.id
        state = self._remember(recorded)
        if state is None:
            self.attention.open(server_id)
        elif state.unfinished:
            # What is asked of servers that are there goes before new ones.
            self.attention.open(server_id, state.project_id, urgent=recorded.version > 1)
        else:
            self._forget(server_id)
            self.attention.close(server_id)

    def see_to_those_of(self, host: str) -> None:
        """A host is dead: whoever waits for it is looked at now. Costs a look at each that waits for anything."""
        for server_id in self.attention.waiting():
            server = self._states.remembered(server_id)
            if server is None or any(place == host for place, _ in places(server)):
                self.attention.wake(server_id)

    def _note(self, recorded: Recorded, unfinished: dict[str, str]) -> None:
        """An event of the past: remember it, and whether something is under way, as far as that is known."""
        state = self._remember(recorded)
        if state is not None and not state.unfinished:
            unfinished.pop(recorded.aggregate.id, None)
        else:
            unfinished[recorded.aggregate.id] = state.project_id if state else ""

    def _remember(self, recorded: Recorded) -> Server | None:
        state = self._states.advance(recorded)
        self._leftovers.take(recorded, state)
        self._listener(recorded, state)
        return state

    def _forget(self, server_id: str) -> None:
        self._sent.pop(server_id, None)
        self._failures.pop(server_id, None)

    async def _try_advance(self, server_id: str) -> float | None:
        try:
            seconds = await self._advance(server_id)
        except LightcurveError as error:
            if isinstance(error, Unavailable | Stale | OutOfOrder):
                log.warning("server %s waits: %s", server_id, error)
            else:
                log.exception("server %s cannot be advanced", server_id)
            self._states.forget(server_id)
            self._failures[server_id] += 1
            return min(RETRY_SECONDS * 2.0 ** (self._failures[server_id] - 1), MAX_RETRY_SECONDS)
        if seconds is None:
            self._forget(server_id)
        else:
            self._failures.pop(server_id, None)
        return seconds

    async def _advance(self, server_id: str) -> float | None:
        """Do what can be done now; see Attention."""
        while True:
            server = await self._states.get(server_id)
            if server is None:
                return MAX_RETRY_SECONDS
            step = next_step(server, self._stamp.clock.now())
            context = self._context_of(server)
            current_request.set(context.request_id)
            match step:
                case None | ClearRemains():
                    self.attention.leave(server_id)
                    return await self.clearing.clear(server) if step else self.moving.waits(server)
                case Command() | Leave():
                    if (seconds := await self._tell(context, server, step)) is not None:
                        return seconds
                case FinishConfirm() | FinishOffload():
                    await self._command(server, step.discard)
                    await self.moving.take(context, server, step)
                case ChooseTarget() | Abandon() | FinishReturn() | Confirm() | Offload():
                    await self.moving.take(context, server, step)
                case _:
                    await self._take_step(context, server, step)

    async def _take_step(
        self, context: Context, server: Server, step: Place | GiveUp | Expire | DropImage | FinishDelete
    ) -> None:
        match step:
            case Place():
                await self._place(context, server, step)
            case GiveUp():
                await self.give_up(context, server, Fault(code=500, message=step.message), {})
            case Expire():
                await self._expire(context, server)
            case DropImage():
                await self._drop_image(context, server, step.image_id)
            case FinishDelete():
                await self.finish_delete(context, server, without_host=step.without_host)

    async def _tell(self, context: Context, server: Server, step: Command | Leave) -> float | None:
        """Have a host told; the seconds until its outcome should be there, None if it came otherwise."""
        if isinstance(step, Command) and await self.moving.has_dead_host(context, server, step):
            return None
        if isinstance(step, Leave) and not self._lives(course.moving(server).source, silent=not step.overdue):
            return await self._lost.seek(context, server)
        try:
            return await self._command(server, step.command if isinstance(step, Leave) else step)
        except HostFailed as error:
            await self.moving.refused(context, server, error)
            return None

    def _lives(self, place: HostPlace, *, silent: bool) -> bool:
        """Whether a host may still be at work; ``silent``: also one that is not heard of."""
        return (silent or self._host_up(place.host)) and not self._lost.is_dead(place)

    async def _place(self, context: Context, server: Server, step: Place) -> None:
        try:
            claim, nics = await together(
                self._holdings.claim(context, HostViews(self._hosts, self._host_up), step.demand),
                self._holdings.allocate_addresses(context, server),
            )
        except NoCapacity as error:
            await self.give_up(
                context,
                server,
                Fault(code=500, message=_no_host(server, error), details=error.message),
                error.removed,
            )
            return
        except (Refused, Invalid) as error:
            await self.give_up(context, server, Fault(code=error.status, message=error.message), {})
            return
        host = self._hosts.by_id(next(iter(claim.allocations)))
        placed = ServerPlaced(
            host=host.name,
            host_id=host.id,
            epoch=step.demand.epoch,
            availability_zone=host.availability_zone,
            nics=nics,
        )
        await self._states.execute(context, server.id, lambda state: creation.placed(state, placed))

    async def _drop_image(self, context: Context, server: Server, image_id: str) -> None:
        await self._images.remove(context, image_id)
        await self._states.execute(context, server.id, lambda state: create_image.dropped(state, image_id))

    async def _expire(self, context: Context, server: Server) -> None:
        now = self._stamp.clock.now()
        await self.moving.settle(context, server)
        # Only the action that was found late: another one would be ended under the wrong request.
        state, recorded = await self._states.execute(
            context,
            server.id,
            self.moving.if_settled(server, lambda state: reported.expired(state, now, context.request_id)),
        )
        if recorded and state and state.is_nowhere:
            # It might have been built after all: so nothing is removed, or given back, before the log says no.
            if server.host:
                await self._command(server, Command(server.host, "discard", with_spec=False, epoch=server.epoch))
            await self._holdings.release_assignment(context, state)

    async def give_up(self, context: Context, server: Server, fault: Fault, removed: dict[str, int]) -> None:
        """End a creation that has no host: nothing stays held but the quota, which counts until deletion. A server
        that was to come back keeps its addresses, too.

        It is recorded first. Another conductor may be placing the server at this moment: only once the log says
        that it failed is it certain that what is held is for nothing.
        """
        state, recorded = await self._states.execute(
            context,
            server.id,
            lambda state: creation.given_up(state, fault, removed) or unshelve.given_up(state, fault),
        )
        if recorded and state and state.is_nowhere:
            await self._holdings.release_assignment(context, state)
        elif recorded:
            await together(
                self._holdings.release_claim(context, server.id),
                self._holdings.release_addresses(context, server),
            )

    async def finish_delete(self, context: Context, server: Server, *, without_host: bool) -> None:
        """Release everything that a server being deleted holds, and record that it is gone. A host that does not
        answer finds the command in its queue when it comes back."""
        if without_host and server.host:
            if other := deletion.elsewhere(server):
                await self._command(server, destroy(other.host, other.epoch))
            await self._command(server, destroy(server.host))
        for left in server.remains:
            await self._command(server, destroy(left.place.host, left.place.epoch))
        await self._holdings.release_all(context, server)
        for image_id in server.images_of_it:
            await self._images.remove(context, image_id)
        if server.move:
            await self._states.execute(context, server.id, deletion.elsewhere_cleared)
        await self._states.execute(
            context, server.id, lambda state: deletion.deleted(state, without_host=without_host)
        )

    async def _command(self, server: Server, step: Command) -> float:
        """Send it, unless it was sent lately; returns the seconds until its outcome should be there."""
        action = server.action
        assert action
        now = asyncio.get_running_loop().time()
        epoch = server.epoch if step.epoch is None else step.epoch
        name = f"{server.id}-{epoch}-{action.version}-{step.kind}"
        sent, at, times = self._sent.get(server.id, ("", 0.0, 0))
        left = _until(action, self._stamp.clock.now())
        if sent == name and (wait := at + RESEND_SECONDS * 2.0 ** (times - 1) - now) > 0:
            return max(0.0, min(wait, left))
        times = times + 1 if sent == name else 1
        spec = guest_spec(server) if step.with_spec else None
        command = HostCommand(
            host=step.host,
            kind=step.kind,
            server_id=server.id,
            epoch=epoch,
            version=action.version,
            request_id=action.request_id,
            global_request_id=action.global_request_id,
            spec=spec,
            image_id=step.image_id,
            image_tickets=self._tickets_for(step, spec),
            peer=await self.moving.peer(server, step),
            deadline=action.deadline,
            repeated=times > 1,
            orders=steering.orders(server) if steering.is_live(server) else None,
        )
        await self._bus.send(step.host, name if times == 1 else f"{name}-{times}", encode(command))
        self._sent[server.id] = name, now, times
        log.info("%s sent to %s for server %s", step.kind, step.host, server.id)
        return max(0.0, min(RESEND_SECONDS * 2.0 ** (times - 1), left))

    def _tickets_for(self, step: Command, spec: GuestSpec | None) -> dict[str, str]:
        if self._tickets is None:
            return {}
        if step.image_id is not None:
            return {step.image_id: self._tickets.issue(step.image_id, step.host, SENDING)}
        images = (spec.image, spec.rescue_image, spec.disk_image) if spec else ()
        return {image.id: self._tickets.issue(image.id, step.host) for image in images if image}

    def _context_of(self, server: Server) -> Context:
        return on_behalf_of(server.action) if server.action else self._stamp.own_context()


def _until(action: UnderWay, now: datetime) -> float:
    """The seconds until its deadline; until another look, if that is over."""
    left = (action.deadline - now).total_seconds()
    return left if left > 0 else LATE_SECONDS


def _no_host(server: Server, error: NoCapacity) -> str:
    reason = NO_VALID_HOST + grouping.told(error.removed)
    if not server.failed_hosts:
        return reason
    cause = server.fault.message if server.fault else ""
    return f"{reason} It was tried on {len(server.failed_hosts)} before; the last attempt: {cause}"
