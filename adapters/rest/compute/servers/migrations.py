"""``os-migrations``: the ways of servers to other hosts; ``servers/{id}/migrations``: those that are under way live.

https://docs.openstack.org/api-ref/compute/#migrations-os-migrations
"""

import zlib
from typing import Any

from adapters.rest.compute import links
from adapters.rest.compute.servers.access import find
from adapters.rest.compute.servers.migration_orders import find_migration, shown
from adapters.rest.kit import since
from adapters.rest.kit.changes import times
from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.paging import MAX_PAGE, page_limit
from adapters.rest.kit.times import micros
from adapters.rest.kit.words import words
from domain.errors import Invalid, Refused
from domain.server.moves.migration import UNDER_WAY, Migration, MigrationFilter
from domain.server.moves.move import LIVE_MIGRATION
from handlers.messages import Progress

operations = Operations()

PATH = "/os-migrations"
OF_SERVER = "/servers/{server_id}/migrations"
FILTERS = {
    "instance_uuid": "server_id",
    "status": "status",
    "host": "host",
    "source_compute": "source",
    "migration_type": "migration_type",
}
"""Names of the query, and fields of the filter. ``hidden`` says nothing here: nothing is ever hidden."""
OWNERS = ("user_id", "project_id")
PAGED = {*FILTERS, "hidden", "limit", "marker", "changes-since", "changes-before", *OWNERS}
"""All names there are; others are refused as of 2.59."""


@operations("GET", PATH, Access.ADMIN, "os_compute_api:os-migrations:index")
async def index(call: Call) -> Any:
    """All of them, the newest first; in pages as of 2.59."""
    wanted: dict[str, Any] = {field: call.query[name] for name, field in FILTERS.items() if name in call.query}
    if call.minor >= since.MIGRATION_OWNERS:
        wanted |= {name: call.query[name] for name in OWNERS if name in call.query}
    if call.minor < since.MIGRATION_PAGES:
        rows = await call.services.queries.migrations(MigrationFilter(**wanted))
        return {"migrations": [_shown(call, row) for row in rows]}
    _check_names(call)
    after, before = times(call)
    asked = page_limit(call.query)
    size = MAX_PAGE if asked is None else min(asked, MAX_PAGE)
    rows = await call.services.queries.migrations(
        MigrationFilter(
            **wanted, changes_since=after, changes_before=before, marker=call.query.get("marker"), limit=size + 1
        )
    )
    page = rows[:size]
    answer: dict[str, Any] = {"migrations": [_shown(call, row) for row in page]}
    if page and len(rows) > size:
        answer["migrations_links"] = links.following(call, PATH, page[-1].uuid)
    return answer


def _check_names(call: Call) -> None:
    known = PAGED if call.minor >= since.MIGRATION_OWNERS else PAGED.difference(OWNERS)
    for name in call.query:
        if name not in known:
            raise Invalid(f"Additional properties are not allowed ({name!r} was unexpected)")


@operations("GET", OF_SERVER, Access.ADMIN, "os_compute_api:servers:migrations:index", first=since.LIVE_MIGRATIONS)
async def of_server(call: Call) -> Any:
    """Those that are under way while the server runs."""
    server = await find(call)
    wanted = MigrationFilter(server_id=server.id, migration_type=LIVE_MIGRATION)
    rows = await call.services.queries.migrations(wanted)
    under_way = [row for row in rows if row.status in UNDER_WAY]
    progress = await call.services.progress(server) if under_way else None
    return {"migrations": [_shown_live(call, row, progress) for row in under_way]}


@operations("GET", f"{OF_SERVER}/{{migration_id}}", Access.ADMIN, "os_compute_api:servers:migrations:show",
            first=since.LIVE_MIGRATIONS)  # fmt: skip
async def show(call: Call) -> Any:
    server = await find(call)
    row = await find_migration(call, server)
    if row.migration_type != LIVE_MIGRATION or row.status not in UNDER_WAY:
        raise Refused(
            "migration.not_under_way",
            f"Migration {row.id} for server {server.id} is not live-migration in progress.",
            status=404,
        )
    document = _shown_live(call, row, await call.services.progress(server))
    return Reply({"migration": document}, headers=shown(server, row))


def _shown(call: Call, row: Migration) -> dict[str, Any]:
    document = _places(call, row) | {
        "instance_uuid": row.server_id,
        "old_instance_type_id": _number(row.old_flavor),
        "new_instance_type_id": _number(row.new_flavor),
    }
    if call.minor >= since.LIVE_MIGRATIONS:
        document["migration_type"] = row.migration_type
        if row.migration_type == LIVE_MIGRATION and row.status in UNDER_WAY:
            document["links"] = links.item(call, f"servers/{row.server_id}/migrations", str(row.id))
    if call.minor >= since.MIGRATION_PAGES:
        document["uuid"] = row.uuid
    return document | _owners(call, row)


AMOUNTS = words("memory_total memory_processed memory_remaining disk_total disk_processed disk_remaining")


def _shown_live(call: Call, row: Migration, progress: Progress | None) -> dict[str, Any]:
    """Amounts of which nothing is known are null."""
    document = _places(call, row) | {"server_uuid": row.server_id}
    document |= {f"{name}_bytes": getattr(progress, name, None) for name in AMOUNTS}
    if call.minor >= since.MIGRATION_PAGES:
        document["uuid"] = row.uuid
    return document | _owners(call, row)


def _places(call: Call, row: Migration) -> dict[str, Any]:
    target = call.services.fleet.named(row.target) if row.target else None
    return {
        "id": row.id,
        "status": row.status,
        "source_compute": row.source,
        "source_node": row.source,
        "dest_compute": row.target,
        "dest_node": row.target,
        "dest_host": target.description.host_ip if target else None,
        "created_at": micros(row.created_at),
        "updated_at": micros(row.updated_at),
    }


def _owners(call: Call, row: Migration) -> dict[str, Any]:
    return {name: getattr(row, name) for name in OWNERS} if call.minor >= since.MIGRATION_OWNERS else {}


def _number(flavor_id: str) -> int:
    """Nova's flavors have a number beside their id: here it is the id, if that is one, else made of it."""
    return int(flavor_id) if flavor_id.isdecimal() and len(flavor_id) < 10 else zlib.crc32(flavor_id.encode()) >> 1
