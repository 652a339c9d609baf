"""Connections to one read database, on which a question is answered in time or not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.waiting import wait_async

from domain.errors import Unavailable
from projections.shares import Shares

MAX_CONNECTIONS = 8
OF_ONE_OWNER, BESIDE_OTHERS = 4, 2
"""Connections: however many questions one has, however slow they are, the others find some, and processors that are
free."""
STATEMENT_SECONDS = 4.0
"""What one question may cost the database."""
GRACE_SECONDS = 1.0
"""A question waits no longer than that beside: neither for a connection, nor for a database that stands still and
does not keep its own limits."""
LOOK_SECONDS = 0.5
"""How often psycopg looks up while it waits."""
SILENT = "The read database does not answer."


Owner = Callable[[], str]
"""Tells on whose behalf the task at work asks."""


def nobody() -> str:
    """The owner of questions that the system itself asks."""
    return ""


About = tuple[str, ...] | None
"""The ids of the servers and projects that a question is about; None: whatever who asks may see."""
Unread = Callable[[About], Awaitable[None] | None]
"""Tells what the task at work has to wait for before it asks; None for nothing."""


def nothing(_about: About) -> None:
    """Ask at once, whatever is not there yet."""


class TookTooLong(Unavailable):
    """The database gave a question up."""


T = TypeVar("T")


class _Connection(AsyncConnection[Any]):
    """A connection that nobody who is cancelled has to wait for. What psycopg does then, it does with the database's
    help, which may stand still; here the connection is given up instead."""

    async def wait(self, gen: PQGen[T], interval: float = LOOK_SECONDS, timeout: float | None = None) -> T:
        return await wait_async(gen, self.pgconn.socket, interval, timeout)


class Pool:
    """Up to MAX_CONNECTIONS connections, made as they are needed.

    A question takes as few rounds of the event loop as can be, since in each of them others are served, too: one to
    be sent, one to be answered.
    """

    def __init__(self, url: str, statement_seconds: float, owner: Owner, unread: Unread) -> None:
        self._url = url
        self._options = f"-c timezone=UTC -c statement_timeout={statement_seconds * 1000:.0f}"
        self._owner = owner
        self._unread = unread
        self._shares = Shares(OF_ONE_OWNER, BESIDE_OTHERS)
        self._patience = statement_seconds + GRACE_SECONDS
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._idle: list[_Connection] = []

    async def open(self) -> None:
        """Have a connection ready, if the database is there already."""
        with suppress(psycopg.OperationalError, TimeoutError):
            async with asyncio.timeout(self._patience):
                self._idle.append(await self._connect())

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def rows(self, query: sql.SQL, values: Any, about: About = None) -> list[Any]:
        """The rows of a query. Raises TookTooLong, Unavailable, and psycopg's errors for the query's own faults."""
        if (unread := self._unread(about)) is not None:
            await unread
        try:
            async with asyncio.timeout(self._patience), self._shares.one(self._owner()), self._room:
                return await self._ask(query, values)
        except psycopg.errors.QueryCanceled as error:
            raise TookTooLong("The read database has given up a question that took too long.") from error
        except (TimeoutError, psycopg.OperationalError) as error:
            raise Unavailable(SILENT) from error

    async def _ask(self, query: sql.SQL, values: Any) -> list[Any]:
        if self._idle:
            rows = await self._try(self._idle.pop(), query, values)
            if rows is not None:
                return rows
            # After a restart of the database none of the connections from before is of use: better to find out
            # then than before each question.
            await self.close()
        rows = await self._try(await self._connect(), query, values)
        if rows is None:
            raise Unavailable(SILENT)
        return rows

    async def _try(self, connection: _Connection, query: sql.SQL, values: Any) -> list[Any] | None:
        """None if the connection ended."""
        try:
            return await (await connection.execute(query, values)).fetchall()
        except psycopg.OperationalError:
            if not connection.broken:
                raise
            return None
        finally:
            if connection.pgconn.transaction_status == TransactionStatus.IDLE:
                self._idle.append(connection)
            else:
                connection.pgconn.finish()

    async def _connect(self) -> _Connection:
        return await _Connection.connect(self._url, autocommit=True, prepare_threshold=2, options=self._options)
