"""What evacuated servers may have left on dead hosts: it is removed when they are back, and what is claimed there is
given back then."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from domain.fleet.host import Host
from domain.server.moves import evacuation
from domain.server.moves.move import Remains
from domain.server.state import Server
from handlers.conducting.holdings import Holdings
from handlers.conducting.states import ServerStates
from handlers.context import Context, Stamp
from handlers.fleet.hosts import Hosts
from handlers.messages import HostCommand, encode
from handlers.ports import CommandBus

log = logging.getLogger(__name__)

COMMAND = "discard"
LOOK_SECONDS = 15.0
"""How often it is looked whether such a host is back."""
RESEND_SECONDS = 60.0
"""What it is told it is told again, each time after twice as long."""


class _Sent(NamedTuple):
    times: int
    again_at: float
    """Loop time."""


class Clearing:
    """Has them removed. Each step is idempotent."""

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
        self._sent: dict[str, _Sent] = {}
        """By move."""

    async def clear(self, server: Server) -> float:
        """Do what can be done now; returns the seconds until another look. Raises Unavailable, Stale."""
        for left in server.remains:
            await self._holdings.leave_group(self._stamp.own_context(), left.move_id)
            host = self._hosts.get(left.place.host_id)
            if host is None:
                continue
            if host.forgotten:
                await self.cleared(self._stamp.own_context(), server.id, left, without_host=True)
            elif self._answers(host):
                await self._send(server, left)
            else:
                self._sent.pop(left.move_id, None)
        return LOOK_SECONDS

    async def cleared(self, context: Context, server_id: str, left: Remains, *, without_host: bool) -> None:
        """Nothing is left there. Its claim is given back first: whoever dies in between does it again."""
        await self._holdings.release_claim(context, left.move_id)
        await self._states.execute(
            context, server_id, lambda state: evacuation.removed(state, left.move_id, without_host=without_host)
        )
        self._sent.pop(left.move_id, None)

    def _answers(self, host: Host) -> bool:
        return not host.forced_down and self._host_up(host.name)

    async def _send(self, server: Server, left: Remains) -> None:
        now = asyncio.get_running_loop().time()
        sent = self._sent.get(left.move_id, _Sent(0, now))
        if now < sent.again_at:
            return
        # It may have died before it heard of its last assignment: all before that are over, too.
        for epoch in range(1, left.place.epoch + 1):
            command = HostCommand(
                host=left.place.host,
                kind=COMMAND,
                server_id=server.id,
                epoch=epoch,
                # Newer than all that the host was told of the server before it died.
                version=server.version,
                request_id=self._stamp.own_context().request_id,
            )
            name = f"{server.id}-{epoch}-{server.version}-{COMMAND}-{sent.times}"
            await self._bus.send(left.place.host, name, encode(command))
        self._sent[left.move_id] = _Sent(sent.times + 1, now + RESEND_SECONDS * 2.0**sent.times)
        log.info("%s is told to remove what is left of server %s", left.place.host, server.id)
