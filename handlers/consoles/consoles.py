"""Console grants: tokens are given out, redeemed and revoked; what becomes of each session is recorded."""

import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from domain import console
from domain.console import ConsoleClosed, ConsoleGrant, ConsoleOpened
from domain.errors import Invalid, LightcurveError, Refused, Unavailable
from domain.fleet import host as hosts
from domain.fleet.host import Host
from domain.log.record import Event
from domain.server.fold import KIND as SERVER
from domain.server.state import Server
from domain.server.state import aggregate as server_aggregate
from handlers.context import Context, Stamp, current_request
from handlers.fleet.refusals import Refusals
from handlers.log.repository import NEVER_WAS, Repository
from handlers.messages import ConsoleAddress, ConsoleAddressQuestion, encode, read_console_address
from handlers.ports import CommandBus, EventStore

log = logging.getLogger(__name__)

TOKEN_BYTES = 24


def new_token() -> str:
    """192 random bits, fit for a URL."""
    return secrets.token_urlsafe(TOKEN_BYTES)


class Consoles:
    """The grants of one cell."""

    def __init__(
        self,
        store: EventStore,
        bus: CommandBus,
        stamp: Stamp,
        *,
        life: timedelta = timedelta(seconds=600),
        single_use: bool = False,
        refusals: Refusals | None = None,
    ) -> None:
        self._grants: Repository[ConsoleGrant] = Repository(console.KIND, store, stamp)
        self._servers: Repository[Server] = Repository(SERVER, store, stamp)
        self._hosts: Repository[Host] = Repository(hosts.KIND, store, stamp)
        self._store = store
        self._bus = bus
        self._stamp = stamp
        self._life = life
        self._single_use = single_use
        self._refusals = refusals or Refusals()

    async def issue(self, context: Context, server: Server, console_type: str) -> str:
        """A token for the server's console: shown once, and kept only as its digest.

        Raises Refused (409; 400 if the server has no such console), and what ``address`` raises.
        """
        event = console.grant(
            server,
            console_type,
            user_id=context.user_id,
            project_id=context.project_id,
            now=self._stamp.clock.now(),
            life=self._life,
            single_use=self._single_use,
        )
        if console.PROTOCOL_OF[console_type] in console.OPTIONAL:
            await self.address(server, console_type)
        token = new_token()
        grant_id = console.aggregate(console.token_id(token))
        await self._grants.execute(context, grant_id, lambda _: event, known=NEVER_WAS)
        return token

    async def redeemable(self, token: str) -> tuple[ConsoleGrant, Server]:
        """What a token stands for, if it can open a session now. Raises Refused."""
        held, _ = await self._grants.load(console.aggregate(console.token_id(token)))
        server = await self._server(held)
        valid = console.check_opening(held, server, self._stamp.clock.now())
        assert server is not None
        return valid, server

    async def open(self, context: Context, token: str, opened: Callable[[ConsoleGrant], ConsoleOpened]) -> Server:
        """Redeem a token: recorded, and once only if it is for single use. Raises Refused, recording that, too."""
        aggregate = console.aggregate(console.token_id(token))
        held, tail = await self._grants.load(aggregate)
        server = await self._server(held)

        def decide(state: ConsoleGrant | None) -> Event:
            return opened(console.check_opening(state, server, self._stamp.clock.now()))

        await self._grants.execute(context, aggregate, decide, known=(held, tail))
        assert server is not None
        return server

    async def refuse(self, context: Context, token: str, refusal: Refused, address: str) -> None:
        """Record that somebody who showed a token was refused, if that is easy: a token that never was leaves no
        trace, and of a thousand who try one at once not every single one has to be told of."""
        aggregate = console.aggregate(console.token_id(token))
        try:
            held, tail = await self._grants.load(aggregate)
            refused = console.refuse(held, refusal.code, address)
            if refused:
                await self._store.append(aggregate, refused, self._stamp(context), tail)
        except LightcurveError as error:
            log.info("a refused console token is not recorded: %s", error)

    async def close(self, context: Context, grant_id: str, closed: ConsoleClosed) -> None:
        """Record the end of a session, unless it is recorded already."""
        await self._grants.execute(context, console.aggregate(grant_id), lambda held: console.close(held, closed))

    async def lose(self, context: Context, grant_id: str, session_id: str, last_sign: datetime | None) -> bool:
        """Record the end of a session whose proxy is gone; returns whether it was open."""
        _, recorded = await self._grants.execute(
            context, console.aggregate(grant_id), lambda held: console.lose(held, session_id, last_sign)
        )
        return recorded is not None

    async def revoke(self, context: Context, grant_id: str) -> int:
        """Make a grant void; returns the event's position, 0 if nothing changed."""
        _, recorded = await self._grants.execute(context, console.aggregate(grant_id), console.revoke)
        return recorded.position if recorded else 0

    async def address(self, server: Server, console_type: str) -> ConsoleAddress:
        """Where the server's host offers its console: at the address with which it is enrolled, and nowhere else.

        Raises Unavailable, HostFailed, or Refused (400) if the server has no such console.
        """
        assert server.host
        question = ConsoleAddressQuestion(
            server_id=server.id, protocol=console.PROTOCOL_OF[console_type], request_id=current_request.get()
        )
        host, _ = await self._hosts.load(hosts.aggregate(server.host))
        if host is None:
            raise Unavailable(f"Host {server.host} is not enrolled.")
        answer = await self._bus.ask(server.host, encode(question))
        try:
            address = read_console_address(answer, host.description.host_ip)
        except Invalid as error:
            self._refusals.count(server.host, error.message)
            raise Unavailable(f"Host {server.host} does not say where the console is.") from error
        if address is None:
            raise Refused("console.unavailable", f"Unavailable console type {console_type}.", status=400)
        return address

    async def _server(self, held: ConsoleGrant | None) -> Server | None:
        if held is None:
            return None
        server, _ = await self._servers.load(server_aggregate(held.server_id))
        return server
