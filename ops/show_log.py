"""``lightcurve log``: what the log tells of a server, a request, a type of event."""

import json

import msgspec

from adapters.nats.store import NatsEventStore
from domain.log.record import AggregateId, Recorded
from ops.roles.plane import Plane, open_plane
from ops.settings import Settings
from projections.event_log import LogRow
from projections.queries import PostgresQueries

SEARCH_SECONDS = 600.0
"""A look through a long log may take its time."""


async def show(
    settings: Settings, *, server: str | None, request_id: str | None, kind: str | None, limit: int, bodies: bool
) -> None:
    """Print the events, oldest first."""
    queries = PostgresQueries(settings.database.url, SEARCH_SECONDS)
    await queries.open()
    try:
        async with open_plane(settings, "log") as plane:
            server_id = await _server_id(plane, queries, server) if server else None
            rows = await queries.log(server_id=server_id, request_id=request_id, kind=kind, limit=limit)
            await _print(plane, rows, bodies=bodies)
    finally:
        await queries.close()


async def _server_id(plane: Plane, queries: PostgresQueries, server: str) -> str:
    found = await queries.servers_named(server)
    if len(found) > 1:
        print(f"{len(found)} servers were named {server}; the newest is shown. The others, by id:")
        for other in found[1:]:
            print(f"  {other.id}  created {other.created_at:%Y-%m-%d %H:%M:%S}  {other.vm_state}")
    return found[0].id if found else server


async def _print(plane: Plane, rows: list[LogRow], *, bodies: bool) -> None:
    stores: dict[str, NatsEventStore] = {store.cell: store for store in (plane.store, plane.api_store)}
    histories: dict[tuple[str, AggregateId], dict[int, Recorded]] = {}
    for row in rows:
        subject = f" server={row.server_id}" if row.server_id else ""
        print(
            f"{row.time:%Y-%m-%d %H:%M:%S.%f} {row.cell}#{row.position}{f'.{row.part}' if row.part else ''}"
            f" {row.type}{subject} {row.request_id}"
        )
        if bodies:
            aggregate = AggregateId(row.kind, row.aggregate_id)
            key = row.cell, aggregate
            if key not in histories:
                histories[key] = {event.position: event for event in await stores[row.cell].load(aggregate)}
            print(f"    {_body(histories[key][row.position], row.part)}")
    if not rows:
        print("The log has nothing of that.")


def _body(recorded: Recorded, part: int) -> str:
    body = msgspec.to_builtins(recorded.event)
    return json.dumps(body["changes"][part - 1] if part else body)
