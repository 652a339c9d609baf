"""Pages of migrations, the newest first."""

from typing import Any

import msgspec
import psycopg

from domain.errors import Invalid, Unavailable
from domain.server.moves.migration import Migration, MigrationFilter
from projections.server_pages import Ask

decoder = msgspec.json.Decoder(list[Migration])

CONDITIONS = {
    "server_id": "server_id = %s",
    "uuid": "uuid = %s",
    "status": "status = %s",
    "source": "source = %s",
    "host": "%s IN (source, target)",
    "migration_type": "migration_type = %s",
    "user_id": "user_id = %s",
    "project_id": "project_id = %s",
    "changes_since": "updated_at >= %s",
    "changes_before": "updated_at <= %s",
    "marker": "(created_at, id) < (SELECT created_at, id FROM migrations WHERE uuid = %s)",
}
"""By field of the filter."""
ORDER = "ORDER BY created_at DESC, id DESC"


async def page(ask: Ask, wanted: MigrationFilter) -> list[Migration]:
    """One page. Raises Invalid for an unknown marker, and Unavailable while there is no such table."""
    values: list[Any] = []
    clauses: list[str] = []
    for name, clause in CONDITIONS.items():
        if (value := getattr(wanted, name)) is not None:
            clauses.append(clause)
            values.append(value)
    where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
    limit = " LIMIT %s" if wanted.limit is not None else ""
    values += [wanted.limit] if wanted.limit is not None else []
    text = f"SELECT coalesce(json_agg(m {ORDER}), '[]')::text FROM (SELECT * FROM migrations{where} {ORDER}{limit}) m"  # noqa: S608
    try:
        if wanted.marker is not None and not await ask("SELECT 1 FROM migrations WHERE uuid = %s", wanted.marker):
            raise Invalid(f"marker [{wanted.marker}] not found")
        return decoder.decode((await ask(text, *values))[0][0])
    except psycopg.errors.UndefinedTable:
        raise Unavailable("The projector has not made its tables yet.") from None
