"""Consoles: giving out tokens, and letting in who shows one."""

import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import timedelta
from typing import NamedTuple

from domain import console
from domain.console import ConsoleClosed, ConsoleGrant, ConsoleOpened
from domain.errors import LightcurveError, Refused, Unavailable
from domain.record import Event, Recorded
from domain.server.state import KIND as SERVER
from domain.server.state import Server
from domain.server.state import aggregate as server_aggregate
from handlers.context import Context, Stamp, current_request
from handlers.messages import ConsoleAddress, ConsoleAddressQuestion, console_address_decoder, encode
from handlers.ports import CommandBus, EventStore
from handlers.repository import NEVER_WAS, Repository

log = logging.getLogger(__name__)

TOKEN_BYTES = 24
Entitled = Callable[[str | None, str | None], bool]
"""Whether a user still has a right in a project."""


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
    ) -> None:
        self._grants: Repository[ConsoleGrant] = Repository(console.KIND, store, stamp)
        self._servers: Repository[Server] = Repository(SERVER, store, stamp)
        self._store = store
        self._bus = bus
        self._stamp = stamp
        self._life = life
        self._single_use = single_use

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

    async def close(self, context: Context, token: str, closed: ConsoleClosed) -> None:
        """Record the end of a session."""
        await self._grants.execute(context, console.aggregate(console.token_id(token)), lambda _: closed)

    async def revoke(self, context: Context, grant_id: str) -> int:
        """Make a grant void; returns the event's position, 0 if nothing changed."""
        _, recorded = await self._grants.execute(context, console.aggregate(grant_id), console.revoke)
        return recorded.position if recorded else 0

    async def address(self, server: Server, console_type: str) -> ConsoleAddress:
        """Where the server's host offers its console. Raises Unavailable, HostFailed, or Refused (400) if the
        server has no such console."""
        assert server.host
        question = ConsoleAddressQuestion(
            server_id=server.id, protocol=console.PROTOCOL_OF[console_type], request_id=current_request.get()
        )
        answer = await self._bus.ask(server.host, encode(question))
        address = console_address_decoder.decode(answer)
        if address is None:
            raise Refused("console.unavailable", f"Unavailable console type {console_type}.", status=400)
        return address

    async def _server(self, held: ConsoleGrant | None) -> Server | None:
        if held is None:
            return None
        server, _ = await self._servers.load(server_aggregate(held.server_id))
        return server


class Session:
    """One open console: what it has carried, and how to end it."""

    def __init__(self, token: str, address: str) -> None:
        """``address`` is where the viewer comes from."""
        self.token = token
        self.grant_id = console.token_id(token)
        self.address = address
        self.held: ConsoleGrant | None = None
        self.bytes_in = 0
        """From the viewer to the guest."""
        self.bytes_out = 0
        self.reason = ""
        """Why it ended, where it did not just end."""
        self._end: Callable[[], None] | None = None

    def on_cut(self, end: Callable[[], None]) -> None:
        """Call ``end`` when the grant dies; at once if it has."""
        self._end = end
        if self.reason:
            end()

    def cut(self, reason: str) -> None:
        """The grant has died."""
        self.reason = self.reason or reason
        if self._end:
            self._end()


class Admission(NamedTuple):
    """Who was let in, and where the console is."""

    server_id: str
    console_type: str
    session_id: str
    place: ConsoleAddress
    joins: bool = False
    """The token has been used: what comes must belong to the session that did so."""


class Doorkeeper:
    """Lets in who shows a valid token, and cuts open sessions whose grant has died.

    What it remembers is its open sessions only: any number of doorkeepers know the same, since all is in the log.
    """

    def __init__(
        self, store: EventStore, consoles: Consoles, stamp: Stamp, entitled: Entitled, proxy: str = ""
    ) -> None:
        self._store = store
        self._consoles = consoles
        self._stamp = stamp
        self._entitled = entitled
        self._proxy = proxy
        self._servers: Repository[Server] = Repository(SERVER, store, stamp)
        self._by_server: dict[str, set[Session]] = {}
        self._by_grant: dict[str, set[Session]] = {}

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Follow servers and grants until cancelled; without it nobody is cut."""
        begin = await self._store.last_position()
        async with aclosing(self._store.follow(begin, "server", "console")) as batches:  # type: ignore[type-var]
            async for batch in batches:
                if not batch:
                    on_ready()
                for recorded in batch:
                    await self._take(recorded)

    @asynccontextmanager
    async def admitted(self, session: Session) -> AsyncIterator[Admission]:
        """A session, from its opening to its end, both recorded; the caller keeps ``session``'s count.

        Raises Refused, Unavailable, HostFailed. The session is watched before its token is looked at, so that no
        death of the grant goes by unnoticed in between.
        """
        context = Context(request_id=current_request.get())
        with self._watched(self._by_grant, session.grant_id, session):
            try:
                held, _ = await self._consoles.redeemable(session.token)
                if not self._entitled(held.user_id, held.project_id):
                    raise Refused("console.not_entitled", "The user has no right there any more.", status=403)
                session.held = held
                context = Context(request_id=context.request_id, user_id=held.user_id, project_id=held.project_id)
                with self._watched(self._by_server, held.server_id, session):
                    async with self._opened(context, session) as admission:
                        yield admission
            except Refused as refusal:
                await self._consoles.refuse(context, session.token, refusal, session.address)
                raise

    @asynccontextmanager
    async def _opened(self, context: Context, session: Session) -> AsyncIterator[Admission]:
        assert session.held
        server_id, session_id = session.held.server_id, self._stamp.ids.uuid()
        opened = ConsoleOpened(server_id=server_id, session_id=session_id, address=session.address, proxy=self._proxy)
        # Redeemed before the host is asked: a token for single use costs the host one question, whoever tries it.
        joins = False

        def redeem(held: ConsoleGrant) -> ConsoleOpened:
            nonlocal joins
            joins = held.joins
            return opened

        server = await self._consoles.open(context, session.token, redeem)
        began = self._stamp.clock.now()
        try:
            place = await self._consoles.address(server, session.held.console_type)
            yield Admission(server_id, session.held.console_type, session_id, place, joins)
        except LightcurveError as error:
            session.reason = session.reason or error.code
            raise
        finally:
            closed = ConsoleClosed(
                server_id=server_id,
                session_id=session_id,
                seconds=round((self._stamp.clock.now() - began).total_seconds(), 3),
                bytes_in=session.bytes_in,
                bytes_out=session.bytes_out,
                reason=session.reason,
            )
            try:
                await self._consoles.close(context, session.token, closed)
            except LightcurveError as error:
                log.warning("the end of console session %s is not recorded: %s", session_id, error)

    async def _take(self, recorded: Recorded) -> None:
        kind, id_ = recorded.aggregate
        if kind == "console" and isinstance(recorded.event, console.ConsoleRevoked):
            for session in list(self._by_grant.get(id_, ())):
                session.cut("console.revoked")
        elif kind == "server" and id_ in self._by_server:
            await self._look(id_)

    async def _look(self, server_id: str) -> None:
        """Cut the sessions that do not fit the server any more."""
        try:
            server, _ = await self._servers.load(server_aggregate(server_id))
        except Unavailable as error:
            log.warning("server %s cannot be looked at: %s", server_id, error)
            return
        for session in list(self._by_server.get(server_id, ())):
            try:
                assert session.held
                console.check(session.held, server)
            except Refused as refusal:
                session.cut(refusal.code)

    @contextmanager
    def _watched(self, where: dict[str, set[Session]], key: str, session: Session) -> Iterator[None]:
        where.setdefault(key, set()).add(session)
        try:
            yield
        finally:
            where[key].discard(session)
            if not where[key]:
                del where[key]
