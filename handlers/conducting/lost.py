"""Guests whose source does not live any more, though they were leaving it."""

from domain.guest import GuestState
from domain.server.moves import course, live, steering
from domain.server.moves.move import Place
from domain.server.parts import Fault
from domain.server.state import Server
from handlers.conducting.states import ServerStates
from handlers.context import Context, Stamp
from handlers.fleet.hosts import Hosts
from handlers.messages import GuestQuestion, encode, read_guest
from handlers.ports import CommandBus

ASK_SECONDS = 30.0
"""Between two questions to the target."""
GONE = "The server's host was declared dead while the server left it, and it had not arrived."


class Lost:
    """Finds them where they are. Each step is guarded or idempotent."""

    def __init__(self, states: ServerStates, hosts: Hosts, bus: CommandBus, stamp: Stamp) -> None:
        self._states = states
        self._hosts = hosts
        self._bus = bus
        self._stamp = stamp

    async def seek(self, context: Context, server: Server) -> float | None:
        """Say that it is lost, and then look for it at its target: where that has it, it has arrived. Where it has it
        not, nothing is known, but of a source that was declared dead: that will not send it any more.

        Returns the seconds until another look; None if something has come of it. Raises Unavailable.
        """
        move, now = course.moving(server), self._stamp.clock.now()
        assert move.target
        if not move.lost:
            await self._states.execute(context, server.id, steering.lost)
            return None
        guest = None if self.is_dead(move.target) else await self._at(server.id, move.target)
        if guest is not None:
            await self._states.execute(context, server.id, lambda state: live.seen_at_target(state, guest))
        elif self.is_dead(move.source):
            fault = Fault(code=500, message=GONE)
            await self._states.execute(context, server.id, lambda state: course.abandoned(state, fault, now))
        else:
            return ASK_SECONDS
        return None

    def is_dead(self, place: Place) -> bool:
        """Whether somebody who knows has said so."""
        host = self._hosts.by_id(place.host_id)
        return host.forced_down or host.forgotten

    async def _at(self, server_id: str, place: Place) -> GuestState | None:
        question = GuestQuestion(server_id=server_id, epoch=place.epoch)
        return read_guest(await self._bus.ask(place.host, encode(question)))
