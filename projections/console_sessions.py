"""Who sees, or saw, which server's console, from where, since when, until when?"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from domain.console import ConsoleClosed, ConsoleGranted, ConsoleOpened
from domain.log.record import Recorded
from projections.table import Key, Rows, Table

replace = msgspec.structs.replace


class ConsoleGrantRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a token was given out for."""

    grant_id: str
    console_type: str


class ConsoleSessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One session. It is open until ``closed_at``; what follows is known from then on."""

    session_id: str
    cell: str
    grant_id: str
    server_id: str
    console_type: str
    user_id: str | None
    project_id: str | None
    address: str
    """Where the viewer comes from."""
    proxy: str
    opened_at: datetime
    closed_at: datetime | None = None
    reason: str | None = None
    """Why it ended; empty, if it just did."""
    seconds: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None


GRANTS = Table(
    name="console_grants",
    row=ConsoleGrantRow,
    key=("grant_id",),
    columns={"grant_id": "text", "console_type": "text"},
)

TABLE = Table(
    name="console_sessions",
    row=ConsoleSessionRow,
    key=("session_id",),
    columns={
        "session_id": "text",
        "cell": "text",
        "grant_id": "text",
        "server_id": "text",
        "console_type": "text",
        "user_id": "text",
        "project_id": "text",
        "address": "text",
        "proxy": "text",
        "opened_at": "timestamptz",
        "closed_at": "timestamptz",
        "reason": "text",
        "seconds": "double precision",
        "bytes_in": "bigint",
        "bytes_out": "bigint",
    },
    indexes=("(cell, proxy) WHERE closed_at IS NULL", "(server_id, opened_at)"),
)


class ConsoleSessionsView:
    """One row a session, from its opening on; it stays when the session has ended."""

    name = "console_sessions"
    version = 1
    folds = True
    tables = (GRANTS, TABLE)

    def reads(self, recorded: Recorded) -> Iterable[tuple[Table, Key]]:
        """The grant of a session that opens, the session that ends."""
        match recorded.event:
            case ConsoleOpened():
                yield GRANTS, (recorded.aggregate.id,)
            case ConsoleClosed(session_id=session_id):
                yield TABLE, (session_id,)

    def apply(self, recorded: Recorded, rows: Rows) -> None:
        match recorded.event:
            case ConsoleGranted(console_type=console_type):
                rows.put(GRANTS, ConsoleGrantRow(grant_id=recorded.aggregate.id, console_type=console_type))
            case ConsoleOpened() as opened:
                grant: ConsoleGrantRow | None = rows.get(GRANTS, (recorded.aggregate.id,))
                rows.put(TABLE, _row(recorded, opened, grant.console_type if grant else ""))
            case ConsoleClosed() as closed:
                row: ConsoleSessionRow | None = rows.get(TABLE, (closed.session_id,))
                if row is not None and row.closed_at is None:
                    rows.put(TABLE, _ended(row, closed, recorded.meta.time))


def _row(recorded: Recorded, opened: ConsoleOpened, console_type: str) -> ConsoleSessionRow:
    return ConsoleSessionRow(
        session_id=opened.session_id,
        cell=recorded.cell,
        grant_id=recorded.aggregate.id,
        server_id=opened.server_id,
        console_type=console_type,
        user_id=recorded.meta.user_id,
        project_id=recorded.meta.project_id,
        address=opened.address,
        proxy=opened.proxy,
        opened_at=recorded.meta.time,
    )


def _ended(row: ConsoleSessionRow, closed: ConsoleClosed, at: datetime) -> ConsoleSessionRow:
    return replace(
        row,
        closed_at=at,
        reason=closed.reason,
        seconds=closed.seconds,
        bytes_in=closed.bytes_in,
        bytes_out=closed.bytes_out,
    )
