"""Console sessions, as a proxy sees them: it lets in who shows a valid token, and ends what has lost its right."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import datetime
from typing import NamedTuple

import msgspec

from domain import console
from domain.console import ConsoleClosed, ConsoleGrant, ConsoleOpened
from domain.errors import LightcurveError, Refused, Unavailable
from domain.log.record import Recorded
from domain.server.fold import KIND as SERVER
from domain.server.state import Server
from domain.server.state import aggregate as server_aggregate
from handlers.consoles.consoles import Consoles
from handlers.context import Context, Stamp, current_request
from handlers.log.repository import Repository
from handlers.messages import ConsoleAddress
from handlers.ports import EventStore

log = logging.getLogger(__name__)

NOT_ENTITLED = "console.not_entitled"
RETRY_SECONDS = 1.0
"""Between two attempts to record an end."""

Entitled = Callable[[str | None, str | None, str], bool]
"""Whether a user, by the rights in a project, may still see the consoles of the servers of a project."""


class Session:
    """One open console: what it has carried, and how to end it."""

    def __init__(self, token: str, address: str) -> None:
        """``address`` is where the viewer comes from."""
        self.token = token
        self.grant_id = console.token_id(token)
        self.address = address
        self.id = ""
        self.held: ConsoleGrant | None = None
        self.owner = ""
        """The server's project."""
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
    """Lets in who shows a valid token, and cuts open sessions whose grant has died or whose user has lost the right.

    What it remembers is its open sessions only: any number of doorkeepers know the same, since all is in the log.
    """

    def __init__(
        self, store: EventStore, consoles: Consoles, stamp: Stamp, entitled: Entitled, proxy: str = ""
    ) -> None:
        """``proxy`` names this one and no other, nor an earlier start of it."""
        self._store = store
        self._consoles = consoles
        self._stamp = stamp
        self._entitled = entitled
        self._proxy = proxy
        self._servers: Repository[Server] = Repository(SERVER, store, stamp)
        self._by_server: dict[str, list[Session]] = {}
        self._by_grant: dict[str, list[Session]] = {}
        self._unrecorded: asyncio.Queue[tuple[Context, str, ConsoleClosed]] = asyncio.Queue()
        self._left = asyncio.Event()

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Follow servers and grants until cancelled; without it nobody is cut."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._record_late())
            await self._follow(on_ready)

    def judge_anew(self) -> None:
        """Rights have changed: cut the sessions of those who have lost theirs."""
        for session in self._sessions():
            if not self._may_see(session):
                session.cut(NOT_ENTITLED)

    async def end_all(self) -> None:
        """Cut every session, as the proxy stops, and wait until that is recorded."""
        for session in self._sessions():
            session.cut(console.PROXY_STOPPED)
        while self._by_grant:
            self._left.clear()
            await self._left.wait()

    @asynccontextmanager
    async def admitted(self, session: Session) -> AsyncIterator[Admission]:
        """A session, from its opening to its end, both recorded; the caller keeps ``session``'s count.

        Raises Refused, Unavailable, HostFailed. The session is watched before its token is looked at, so that no
        death of the grant goes by unnoticed in between.
        """
        context = Context(request_id=current_request.get())
        with self._watched(self._by_grant, session.grant_id, session):
            try:
                held, session.owner = await self._redeemable(session.token)
                session.held = held
                if not self._may_see(session):
                    raise Refused(NOT_ENTITLED, "The user has no right there any more.", status=403)
                context = Context(request_id=context.request_id, user_id=held.user_id, project_id=held.project_id)
                with self._watched(self._by_server, held.server_id, session):
                    async with self._opened(context, session) as admission:
                        yield admission
            except Refused as refusal:
                await self._consoles.refuse(context, session.token, refusal, session.address)
                raise

    async def _redeemable(self, token: str) -> tuple[ConsoleGrant, str]:
        """The grant and its server's project; without who else has shown the token, for a thousand who did would
        each remember all the others."""
        held, server = await self._consoles.redeemable(token)
        return msgspec.structs.replace(held, sessions={}), server.project_id

    @asynccontextmanager
    async def _opened(self, context: Context, session: Session) -> AsyncIterator[Admission]:
        assert session.held
        server_id, session.id = session.held.server_id, self._stamp.ids.uuid()
        opened = ConsoleOpened(server_id=server_id, session_id=session.id, address=session.address, proxy=self._proxy)
        # Redeemed before the host is asked: a token for single use costs the host one question, whoever tries it.
        joins = False

        def redeem(held: ConsoleGrant) -> ConsoleOpened:
            nonlocal joins
            joins = held.joins
            return opened

        began = self._stamp.clock.now()
        try:
            server = await self._consoles.open(context, session.token, redeem)
        except Unavailable as error:
            # It may be in the log all the same.
            session.reason = error.code
            self._unrecorded.put_nowait((context, session.grant_id, self._end_of(session, server_id, began)))
            raise
        try:
            place = await self._consoles.address(server, session.held.console_type)
            yield Admission(server_id, session.held.console_type, session.id, place, joins)
        except LightcurveError as error:
            session.reason = session.reason or error.code
            raise
        finally:
            closed = self._end_of(session, server_id, began)
            if not await self._recorded(context, session.grant_id, closed):
                self._unrecorded.put_nowait((context, session.grant_id, closed))

    def _end_of(self, session: Session, server_id: str, began: datetime) -> ConsoleClosed:
        return ConsoleClosed(
            server_id=server_id,
            session_id=session.id,
            seconds=round((self._stamp.clock.now() - began).total_seconds(), 3),
            bytes_in=session.bytes_in,
            bytes_out=session.bytes_out,
            reason=session.reason,
        )

    async def _recorded(self, context: Context, grant_id: str, closed: ConsoleClosed) -> bool:
        try:
            await self._consoles.close(context, grant_id, closed)
        except LightcurveError as error:
            log.warning("the end of console session %s is not recorded yet: %s", closed.session_id, error)
            return False
        return True

    async def _record_late(self) -> None:
        """Record what could not be recorded when it happened: a proxy that lives is asked by nobody else."""
        while True:
            unrecorded = await self._unrecorded.get()
            if not await self._recorded(*unrecorded):
                # One whose grant is out of order may never be: it waits behind the others.
                self._unrecorded.put_nowait(unrecorded)
                await self._stamp.clock.sleep(RETRY_SECONDS)

    async def _follow(self, on_ready: Callable[[], None]) -> None:
        begin = await self._store.last_position()
        async with aclosing(self._store.follow(begin, SERVER.name, console.KIND.name)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                if not batch:
                    on_ready()
                for recorded in batch:
                    await self._take(recorded)

    async def _take(self, recorded: Recorded) -> None:
        kind, id_ = recorded.aggregate
        if kind == SERVER.name:
            if id_ in self._by_server:
                await self._look(id_)
            return
        for session in list(self._by_grant.get(id_, ())):
            match recorded.event:
                case console.ConsoleRevoked():
                    session.cut("console.revoked")
                case ConsoleClosed(session_id=session.id, reason=console.PROXY_LOST):
                    # This proxy was not heard for long, and was taken for gone: the log shall be right.
                    session.cut(console.PROXY_LOST)

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

    def _sessions(self) -> list[Session]:
        return [session for sessions in self._by_grant.values() for session in sessions]

    def _may_see(self, session: Session) -> bool:
        """Whether the session's user has the right; True as long as nobody knows whose session it is."""
        held = session.held
        return held is None or self._entitled(held.user_id, held.project_id, session.owner)

    @contextmanager
    def _watched(self, where: dict[str, list[Session]], key: str, session: Session) -> Iterator[None]:
        where.setdefault(key, []).append(session)
        try:
            yield
        finally:
            where[key].remove(session)
            if not where[key]:
                del where[key]
            self._left.set()
