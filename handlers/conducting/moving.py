"""The steps of moves: what a conductor does for a server on its way to another host."""

from collections.abc import Callable

from domain.errors import HostFailed, Invalid, NoCapacity, Refused, Stale
from domain.log.record import Event
from domain.placement import grouping
from domain.placement.scheduling import NO_VALID_HOST
from domain.server.action import ServerActionFailed
from domain.server.actions import shelve
from domain.server.moves import cold, course, dead_hosts, live
from domain.server.moves.course import ServerTargetChosen
from domain.server.moves.move import EVACUATION, SOURCE, TARGET
from domain.server.parts import Fault
from domain.server.reported import task_of
from domain.server.state import Server
from domain.server.steps import (
    Abandon,
    ChooseTarget,
    Command,
    Confirm,
    FinishConfirm,
    FinishOffload,
    FinishReturn,
    Offload,
)
from handlers.conducting.holdings import Holdings
from handlers.conducting.states import ServerStates
from handlers.context import Context, Stamp
from handlers.fleet.hosts import Hosts
from handlers.fleet.views import HostViews
from handlers.messages import ArrivalQuestion, DiskQuestion, Peer, encode, read_arrival, read_disk_offer
from handlers.ports import CommandBus

Decide = Callable[[Server | None], Event | None]


class Moving:
    """Each step is guarded or idempotent, as the conductor's own are."""

    def __init__(
        self,
        states: ServerStates,
        holdings: Holdings,
        hosts: Hosts,
        host_up: Callable[[str], bool],
        bus: CommandBus,
        stamp: Stamp,
    ) -> None:
        self._states = states
        self._holdings = holdings
        self._hosts = hosts
        self._host_up = host_up
        self._bus = bus
        self._stamp = stamp

    async def take(
        self,
        context: Context,
        server: Server,
        step: ChooseTarget | Abandon | FinishReturn | Confirm | FinishConfirm | Offload | FinishOffload,
    ) -> None:
        """Do one step."""
        match step:
            case ChooseTarget():
                await self._choose(context, server, step)
            case Abandon():
                await self._abandon(context, server, Fault(code=500, message=step.message), {})
            case FinishReturn():
                await self._end(context, server, course.returned)
            case Confirm():
                now = self._stamp.clock.now()
                await self._states.execute(context, server.id, lambda state: cold.confirmed_by_time(state, now))
            case Offload():
                now = self._stamp.clock.now()
                await self._states.execute(context, server.id, lambda state: shelve.offloaded_by_time(state, now))
            case FinishOffload():
                await self._end(context, server, lambda state: shelve.offloaded(state, without_host=True))
            case FinishConfirm():
                await self._end(
                    context,
                    server,
                    lambda state: cold.confirmed(state, without_host=True) or live.migrated(state, without_host=True),
                )

    async def _end(self, context: Context, server: Server, decide: Decide) -> None:
        await self.settle(context, server)
        await self._states.execute(context, server.id, self.if_settled(server, decide))

    async def settle(self, context: Context, server: Server) -> None:
        """Before a move ends, whatever ends it, give back what it holds beside the server; before a server leaves its
        host, what it claims there. Harmless otherwise."""
        if cold.is_ending(server):
            await self._holdings.settle_move(context, server)
        elif shelve.is_offloading(server):
            await self._holdings.release_assignment(context, server)

    def if_settled(self, server: Server | None, decide: Decide) -> Decide:
        """``decide``, which raises Stale where it would end something of which ``settle`` was not told: it is of a
        newer version than ``server``."""

        def decide_so(state: Server | None) -> Event | None:
            event = decide(state)
            ends = state is not None and (cold.is_ending(state) or shelve.is_offloading(state))
            if event and state and ends and (server is None or state.version != server.version):
                raise Stale(f"Server {state.id} has come further meanwhile.")
            return event

        return decide_so

    def waits(self, server: Server) -> float | None:
        """The seconds until something happens to the server by itself; None if nothing does."""
        if server.action or server.waits_until is None:
            return None
        return max(0.0, (server.waits_until - self._stamp.clock.now()).total_seconds())

    async def peer(self, server: Server, step: Command) -> Peer | None:
        """The move's other host, for a command that has to do with it. Raises Unavailable, and HostFailed in that
        host's own words."""
        task = task_of(server)
        if not step.by_peer or server.move is None or task is None:
            return None
        place = server.move.at(SOURCE if task.at == TARGET else TARGET)
        host = self._hosts.by_id(place.host_id)
        if host.name == step.host:
            return Peer(host=host.name)
        if self._is_dead(host.name):
            # Who was told before ends it by itself; who was not will never be able to be.
            fault = dead_hosts.TARGET_DEAD if task.at == SOURCE else dead_hosts.SOURCE_DEAD
            raise HostFailed(fault.message)
        if task.at == SOURCE:
            answer = await self._bus.ask(host.name, encode(ArrivalQuestion(server_id=server.id)))
            return Peer(host=host.name, arrival=read_arrival(answer))
        described = host.description
        answer = await self._bus.ask(host.name, encode(DiskQuestion(server_id=server.id, epoch=step.epoch or 0)))
        offer = read_disk_offer(answer, {described.migration_ip or described.host_ip})
        return Peer(host=host.name, offer=offer)

    async def has_dead_host(self, context: Context, server: Server, step: Command) -> bool:
        """Whether the host that would be told was declared dead, or forgotten, and something has come of that."""
        if not self._is_dead(step.host):
            return False
        now, epoch = self._stamp.clock.now(), server.epoch if step.epoch is None else step.epoch

        def decide(state: Server | None) -> Event | None:
            return dead_hosts.ended(state, epoch, now) or dead_hosts.not_built(state, epoch)

        event = decide(server)
        if isinstance(event, ServerActionFailed):
            await self._end(context, server, decide)
        elif event:
            await self._states.execute(context, server.id, decide)
        return event is not None

    def _is_dead(self, host: str) -> bool:
        known = self._hosts.named(host)
        return known is not None and (known.forced_down or known.forgotten)

    async def refused(self, context: Context, server: Server, error: HostFailed) -> None:
        """The other host has not what the server needs of it."""
        await self._abandon(context, server, Fault(code=500, message=error.message, details=error.details), {})

    async def _choose(self, context: Context, server: Server, step: ChooseTarget) -> None:
        move = course.moving(server)
        if move.kind != EVACUATION and self._is_dead(move.source.host):
            await self._abandon(context, server, dead_hosts.SOURCE_DEAD, {})
            return
        try:
            claim = await self._holdings.claim_target(
                context,
                HostViews(self._hosts, self._host_up),
                step.demand,
                move.id,
                may_stay=move.may_stay,
            )
        except NoCapacity as error:
            fault = Fault(code=500, message=NO_VALID_HOST + grouping.told(error.removed), details=error.message)
            await self._abandon(context, server, fault, error.removed)
            return
        except (Refused, Invalid) as error:
            await self._abandon(context, server, Fault(code=error.status, message=error.message), {})
            return
        host = self._hosts.by_id(next(iter(claim.allocations)))
        chosen = ServerTargetChosen(
            host=host.name, host_id=host.id, epoch=step.demand.epoch, availability_zone=host.availability_zone
        )
        await self._states.execute(context, server.id, lambda state: course.chosen(state, chosen))

    async def _abandon(self, context: Context, server: Server, fault: Fault, removed: dict[str, int]) -> None:
        """Its claims are settled once the log says so: another conductor may be choosing a target at this moment."""
        now = self._stamp.clock.now()
        await self._states.execute(context, server.id, lambda state: course.abandoned(state, fault, now, removed))
