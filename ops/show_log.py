"""``lightcurve log``: what the log tells of a server, a request, a type of event."""

import json

import msgspec

from domain.log.record import Recorded
from ops.past import Past, events_of, in_words, open_past
from ops.settings import Settings
from projections.event_log import LogRow
from projections.trace import facts_of


async def show(
    settings: Settings, *, server: str | None, request_id: str | None, kind: str | None, limit: int, bodies: bool
) -> None:
    """Print the events, oldest first."""
    async with open_past(settings) as past:
        await past.catch_up()
        server_id = await _server_id(past, server) if server else None
        rows = await past.queries.log(server_id=server_id, request_id=request_id, kind=kind, limit=limit)
        await _print(past, rows, bodies=bodies)


async def _server_id(past: Past, server: str) -> str:
    found = await past.queries.servers_named(server)
    if len(found) > 1:
        print(f"{len(found)} servers were named {server}; the newest is shown. The others, by id:")
        for other in found[1:]:
            print(f"  {other.id}  created {other.created_at:%Y-%m-%d %H:%M:%S}  {other.vm_state}")
    return found[0].id if found else server


async def _print(past: Past, rows: list[LogRow], *, bodies: bool) -> None:
    events = await events_of(past, rows)
    names = await past.queries.names({row.server_id for row in rows if row.server_id})
    for row in rows:
        subject = f"{row.kind} {row.aggregate_id}"
        if row.server_id:
            subject = f"{names.get(row.server_id, 'server')} ({row.server_id})"
        recorded = events[row.cell, row.position]
        print(
            f"{row.time:%Y-%m-%d %H:%M:%S.%f} {row.cell}#{row.position}{f'.{row.part}' if row.part else ''}"
            f" {row.type}, {subject}, by {past.names.user(row.user_id)}"
            f"{f' in {past.names.project(row.project_id)}' if row.project_id else ''}, {row.request_id}"
            f"{in_words(facts_of(recorded.event, row.part)) if recorded else ''}"
        )
        if bodies and recorded:
            print(f"    {_body(recorded, row.part)}")
    if not rows:
        print("The log has nothing of that.")


def _body(recorded: Recorded, part: int) -> str:
    body = msgspec.to_builtins(recorded.event)
    return json.dumps(body["changes"][part - 1] if part else body)
