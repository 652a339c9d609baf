"""Connections to one read database, on which a question is answered in time or not at all."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.errors import Unavailable
from projections.shares import Shares

MAX_CONNECTIONS = 8
OF_ONE_OWNER = 4
"""Connections: however many questions one has, however slow they are, the others find some."""
STATEMENT_SECONDS = 4.0
"""What one question may cost the database."""
WAIT_SECONDS = 3.0
"""How long a question waits for a connection."""
GRACE_SECONDS = 1.0
"""A database that stands still does not keep its own limits: so much later nobody waits for it any more."""
SILENT = "The read database does not answer."


Owner = Callable[[], str]
"""Tells on whose behalf the task at work asks."""


def nobody() -> str:
    """The owner of questions that the system itself asks."""
    return ""


class TookTooLong(Unavailable):
    """The database gave a question up."""


class Pool:
    """Up to MAX_CONNECTIONS connections, made as they are needed."""

    def __init__(self, url: str, statement_seconds: float, owner: Owner) -> None:
        self._owner = owner
        self._shares = Shares(OF_ONE_OWNER)
        self._patience = max(WAIT_SECONDS, statement_seconds) + GRACE_SECONDS
        self._pool = AsyncConnectionPool(
            url,
            open=False,
            min_size=1,
            max_size=MAX_CONNECTIONS,
            timeout=WAIT_SECONDS,
            kwargs={
                "autocommit": True,
                "options": f"-c timezone=UTC -c statement_timeout={statement_seconds * 1000:.0f}",
                "prepare_threshold": 2,
            },
        )
        self.open, self.close = self._pool.open, self._pool.close

    async def rows(self, query: sql.SQL, values: Any) -> list[Any]:
        """The rows of a query. Raises TookTooLong, Unavailable, and psycopg's errors for the query's own faults."""
        asking = asyncio.ensure_future(self._ask(query, values))
        try:
            done, _ = await asyncio.wait({asking}, timeout=self._patience)
            if not done:
                raise Unavailable(SILENT)
            return asking.result()
        except psycopg.errors.QueryCanceled as error:
            raise TookTooLong("The read database has given up a question that took too long.") from error
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise Unavailable(SILENT) from error
        finally:
            # Not awaited: to be cancelled, it has to hear from the database, too.
            asking.cancel()
            asking.add_done_callback(_forget)

    async def _ask(self, query: sql.SQL, values: Any) -> list[Any]:
        async with self._shares.one(self._owner()):
            rows = await self._try(query, values)
            if rows is None:
                # After a restart of the database none of the connections from before is of use: better to find out
                # then than before each question.
                await self._pool.check()
                rows = await self._try(query, values)
        if rows is None:
            raise Unavailable(SILENT)
        return rows

    async def _try(self, query: sql.SQL, values: Any) -> list[Any] | None:
        """None if the connection ended."""
        async with self._pool.connection() as connection:
            try:
                return await (await connection.execute(query, values)).fetchall()
            except psycopg.OperationalError:
                if not connection.broken:
                    raise
                return None


def _forget(asking: "asyncio.Future[list[Any]]") -> None:
    if not asking.cancelled():
        asking.exception()
