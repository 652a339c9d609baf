"""Pages of servers: of the present ones, or of those of a moment."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
import psycopg

from domain.errors import Invalid, Unavailable
from domain.log.moment import Moment
from domain.server.listing import ServerFilter
from domain.server.state import Server
from projections.pool import TookTooLong
from projections.server_conditions import conditions
from projections.servers import COLUMNS

SORT_COLUMNS = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "display_name": "name",
    "uuid": "id",
    "vm_state": "vm_state",
    "task_state": "task_state",
    "power_state": "power_state",
    "host": "host",
    "launched_at": "launched_at",
    "terminated_at": "(state->>'terminated_at')::timestamptz",
    "project_id": "project_id",
    "user_id": "user_id",
    "key_name": "state->>'key_name'",
    "image_ref": "image_id",
    "instance_type_id": "flavor_id",
    "availability_zone": "availability_zone",
}

NEVER_CHANGING = ("id", "project_id", "created_at")

NEVER_EMPTY = ("created_at", "id", "name", "updated_at", "vm_state", "project_id", "user_id", "flavor_id")

server_decoder = msgspec.json.Decoder(Server)

Ask = Callable[..., Awaitable[list[Any]]]
"""The rows of a statement, with its values."""


class Source(NamedTuple):
    """Where the servers of a list are: what stands behind ``FROM``, named ``servers``, and its values."""

    text: str
    values: tuple[Any, ...] = ()


PRESENT = Source("servers")


def past(moment: Moment) -> Source:
    """The servers of a moment: of each the last version that belongs to it.

    What never changes of a server is taken from its present row, so that an index finds and orders the servers, and
    of each one version is looked at, however many it has.
    """
    cases = " ".join("WHEN %s THEN %s" for _ in moment.positions)
    columns = ", ".join(f"{'s' if column in NEVER_CHANGING else 'v'}.{column}" for column in COLUMNS)
    text = (
        f"(SELECT {columns} FROM servers s CROSS JOIN LATERAL"  # noqa: S608
        f" (SELECT * FROM server_versions WHERE id = s.id AND since <= CASE s.cell {cases} ELSE 0 END"
        " ORDER BY since DESC LIMIT 1) v) AS servers"
    )
    return Source(text, tuple(value for pair in moment.positions for value in pair))


async def page(ask: Ask, source: Source, wanted: ServerFilter) -> list[Server]:
    """One page of servers. Raises Invalid for an unknown marker or a malformed regular expression, and Unavailable
    while there are no such rows."""
    clauses, values = conditions(wanted)
    order = [(SORT_COLUMNS[key], direction) for key, direction in wanted.sort]
    if ("id", "asc") not in order and ("id", "desc") not in order:
        order.append(("id", order[-1][1] if order else "desc"))
    try:
        if wanted.marker is not None:
            clause, more = await _after(ask, source, wanted, order)
            clauses.append(clause)
            values.extend(more)
        text = f"SELECT state::text FROM {source.text}"  # noqa: S608
        if clauses:
            text += " WHERE " + " AND ".join(clauses)
        text += " ORDER BY " + ", ".join(_ordered(column, direction) for column, direction in order)
        if wanted.limit is not None:
            text += " LIMIT %s"
            values.append(wanted.limit)
        rows = await ask(text, *source.values, *values)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        raise Unavailable("The projector has not made its tables yet.") from None
    except psycopg.errors.InvalidRegularExpression as error:
        raise Invalid(f"Invalid regular expression in a filter: {error.diag.message_primary}") from None
    except TookTooLong:
        if not wanted.searches:
            raise
        raise Invalid("The regular expression of a filter takes too long; use a simpler one.") from None
    return [server_decoder.decode(row[0]) for row in rows]


async def _after(
    ask: Ask, source: Source, wanted: ServerFilter, order: list[tuple[str, str]]
) -> tuple[str, list[Any]]:
    """The condition that selects what comes after the marker in this order."""
    columns = ", ".join(column for column, _ in order)
    text = f"SELECT {columns}, project_id FROM {source.text} WHERE id = %s"  # noqa: S608
    rows = await ask(text, *source.values, wanted.marker)
    if not rows or wanted.project_id not in (None, rows[0][-1]):
        raise Invalid(f"marker [{wanted.marker}] not found")
    directions = {direction for _, direction in order}
    if len(directions) == 1 and all(column in NEVER_EMPTY for column, _ in order):
        # A comparison of rows: so an index begins at the marker, however far that is.
        places = ", ".join(["%s"] * len(order))
        return f"({columns}) {'>' if directions == {'asc'} else '<'} ({places})", list(rows[0][:-1])
    alternatives, values = [], list[Any]()
    equal: list[str] = []
    equal_values: list[Any] = []
    for (column, direction), value in zip(order, rows[0][:-1], strict=True):
        if value is not None:
            sign = ">" if direction == "asc" else "<"
            alternatives.append(" AND ".join([*equal, f"({column} {sign} %s OR {column} IS NULL)"]))
            values += [*equal_values, value]
        equal.append(f"{column} IS NOT DISTINCT FROM %s")
        equal_values.append(value)
    return f"({' OR '.join(f'({part})' for part in alternatives)})", values


def _ordered(column: str, direction: str) -> str:
    """Empty values come last; said only where there may be some, since an index serves the plain order."""
    return f"{column} {direction}" + ("" if column in NEVER_EMPTY else " NULLS LAST")
