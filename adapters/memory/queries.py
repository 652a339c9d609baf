"""The questions, asked of rows in memory."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any

from domain.errors import Invalid
from domain.log.moment import Moment
from domain.server.instance_action import InstanceAction
from domain.server.listing import WHOLE_ADDRESS, ServerFilter
from domain.server.moves.migration import Migration, MigrationFilter, fits
from domain.server.state import DELETED, ERROR, OFFLOADED, Server
from handlers.ports import EventStore
from projections.event_log import TABLE as EVENT_LOG
from projections.event_log import LogRow
from projections.instance_actions import TABLE as ACTIONS
from projections.instance_actions import InstanceActionsView, newest_first
from projections.memory import MemoryRows
from projections.migrations import TABLE as MIGRATIONS
from projections.migrations import MigrationsView
from projections.servers import TABLE as SERVERS
from projections.servers import ServerRow, ServersView, decoder

CONDITIONS: dict[str, Callable[[Server, Any], bool]] = {
    "project_id": lambda server, wanted: server.project_id == wanted,
    "user_id": lambda server, wanted: server.user_id == wanted,
    "name": lambda server, wanted: _found(wanted, server.name),
    "vm_states": lambda server, wanted: server.vm_state in wanted,
    "task_states": lambda server, wanted: server.task_state in wanted,
    "power_state": lambda server, wanted: server.power_state is wanted,
    "ids": lambda server, wanted: server.id in wanted,
    "host": lambda server, wanted: server.host == wanted,
    "availability_zone": lambda server, wanted: server.availability_zone == wanted,
    "flavor_id": lambda server, wanted: server.flavor.id == wanted,
    "image_id": lambda server, wanted: server.image is not None and server.image.id == wanted,
    "key_name": lambda server, wanted: server.key_name == wanted,
    "reservation_id": lambda server, wanted: server.reservation_id == wanted,
    "description": lambda server, wanted: _found(wanted, server.description),
    "hostname": lambda server, wanted: _found(wanted, server.hostname),
    "ip": lambda server, wanted: _found_in_addresses(wanted, server),
    "locked": lambda server, wanted: (server.lock is not None) is wanted,
    "config_drive": lambda server, wanted: server.config_drive is wanted,
    "tags": lambda server, wanted: set(wanted) <= set(server.tags),
    "tags_any": lambda server, wanted: not set(wanted).isdisjoint(server.tags),
    "not_tags": lambda server, wanted: not set(wanted) <= set(server.tags),
    "not_tags_any": lambda server, wanted: set(wanted).isdisjoint(server.tags),
    "deleted": lambda server, wanted: (server.vm_state == DELETED) is wanted,
    "changes_since": lambda server, wanted: server.updated_at >= wanted,
    "changes_before": lambda server, wanted: server.updated_at < wanted.replace(microsecond=0) + timedelta(seconds=1),
}
"""What each field of a ServerFilter demands, where it demands anything."""
PAGING = ("marker", "limit", "sort")

SORT_VALUES: dict[str, Callable[[Server], Any]] = {
    "display_name": lambda server: server.name,
    "uuid": lambda server: server.id,
    "image_ref": lambda server: server.image.id if server.image else None,
    "instance_type_id": lambda server: server.flavor.id,
}
"""Where a sort key is not the field of that name."""


class MemoryQueries:
    """Promises what ``handlers.ports.Queries`` does. Whoever makes the rows keeps them up to date."""

    def __init__(self, rows: MemoryRows) -> None:
        """``rows`` are those of the servers, of their actions and of their migrations."""
        self._rows = rows

    async def server(self, server_id: str) -> Server | None:
        row = self._rows.get(SERVERS, (server_id,))
        return decoder.decode(row.state) if row else None

    async def servers(self, wanted: ServerFilter) -> list[Server]:
        known = _sorted((decoder.decode(row.state) for row in self._rows.all(SERVERS)), wanted.sort)
        if wanted.marker is not None:
            ids = [server.id for server in known if wanted.project_id in (None, server.project_id)]
            if wanted.marker not in ids:
                raise Invalid(f"marker [{wanted.marker}] not found")
            known = known[[server.id for server in known].index(wanted.marker) + 1 :]
        demands = [
            (CONDITIONS[field], value)
            for field in ServerFilter.__struct_fields__
            if field not in PAGING and (value := getattr(wanted, field)) not in (None, ())
        ]
        found = [server for server in known if all(holds(server, value) for holds, value in demands)]
        return found[: wanted.limit]

    async def actions(self, server_id: str) -> list[InstanceAction]:
        return newest_first(row for row in self._rows.all(ACTIONS) if row.server_id == server_id)

    async def action(self, server_id: str, request_id: str) -> InstanceAction | None:
        action: InstanceAction | None = self._rows.get(ACTIONS, (server_id, request_id))
        return action

    async def migrations(self, wanted: MigrationFilter) -> list[Migration]:
        known: list[Migration] = sorted(
            self._rows.all(MIGRATIONS), key=lambda row: (row.created_at, row.id), reverse=True
        )
        if wanted.marker is not None:
            places = [row.uuid for row in known]
            if wanted.marker not in places:
                raise Invalid(f"marker [{wanted.marker}] not found")
            known = known[places.index(wanted.marker) + 1 :]
        return [row for row in known if fits(row, wanted)][: wanted.limit]


class ReplayedQueries(MemoryQueries):
    """The same of logs that have ended: everything in them is read at the first question."""

    def __init__(self, stores: Sequence[EventStore]) -> None:
        self._rows = MemoryRows((ServersView(), InstanceActionsView(), MigrationsView()))
        self._unread = list(stores)

    async def _read(self) -> None:
        while self._unread:
            async for batch in self._unread.pop().follow(0):
                if not batch:
                    break
                self._rows.apply(batch)

    async def server(self, server_id: str) -> Server | None:
        await self._read()
        return await super().server(server_id)

    async def servers(self, wanted: ServerFilter) -> list[Server]:
        await self._read()
        return await super().servers(wanted)

    async def actions(self, server_id: str) -> list[InstanceAction]:
        await self._read()
        return await super().actions(server_id)

    async def action(self, server_id: str, request_id: str) -> InstanceAction | None:
        await self._read()
        return await super().action(server_id, request_id)

    async def migrations(self, wanted: MigrationFilter) -> list[Migration]:
        await self._read()
        return await super().migrations(wanted)


class MemoryLog:
    """Promises what ``adapters.rest.kit.services.Audit`` does, of the rows of the event log."""

    def __init__(self, rows: MemoryRows) -> None:
        self._rows = rows

    async def requests(self, identity: str) -> list[str]:
        for column in ("request_id", "global_request_id", "server_id", "event_id"):
            found = [row.request_id for row in self._log() if getattr(row, column) == identity]
            if found:
                return list(dict.fromkeys(found))
        return []

    async def log(self, *, request_id: str, limit: int) -> list[LogRow]:
        return [row for row in self._log() if row.request_id == request_id][-limit:]

    async def page(
        self, wanted: Mapping[str, str], after: Moment, until: Moment, limit: int, *, whole_only: bool
    ) -> list[LogRow]:
        found: dict[tuple[str, int], LogRow] = {}
        for row in sorted(self._log(), key=lambda row: (row.cell, row.position, row.part)):
            begins = after[row.cell] < row.position <= until[row.cell] and not (whole_only and row.part)
            if begins and all(_is(row, name, value) for name, value in wanted.items()):
                found.setdefault((row.cell, row.position), row)
        return list(found.values())[:limit]

    def _log(self) -> list[LogRow]:
        rows: list[LogRow] = self._rows.all(EVENT_LOG)
        return sorted(rows, key=lambda row: (row.time, row.cell, row.position, row.part))


def _is(row: LogRow, name: str, value: str) -> bool:
    return row.type.startswith(value) if name == "type" else bool(getattr(row, name) == value)


class MemoryReadServers:
    """Promises what ``handlers.conducting.leftovers.ReadServers`` does."""

    def __init__(self, rows: MemoryRows, cell: str) -> None:
        self._rows = rows
        self._cell = cell

    async def unfinished(self) -> tuple[list[str], int]:
        rows: list[ServerRow] = self._rows.all(SERVERS)
        return [row.id for row in rows if row.unfinished and row.cell == self._cell], self._position

    async def living(self, server_ids: Sequence[str]) -> tuple[set[str], int]:
        rows: list[ServerRow] = [row for each in server_ids if (row := self._rows.get(SERVERS, (each,)))]
        lives = {row.id for row in rows if not row.deleted and not _is_nowhere(row)}
        return lives, self._position

    @property
    def _position(self) -> int:
        return self._rows.positions.get(self._cell, 0)


def _is_nowhere(row: ServerRow) -> bool:
    return row.host is None and (row.vm_state == OFFLOADED or (row.vm_state == ERROR and row.launched_at is None))


def _sorted(servers: Iterable[Server], sort: tuple[tuple[str, str], ...]) -> list[Server]:
    """In that order; empty values come last, whichever way."""
    found = list(servers)
    order = [*sort, ("uuid", sort[-1][1] if sort else "desc")]
    for key, direction in reversed(order):
        value_of = SORT_VALUES.get(key) or attrgetter(key)
        there = [server for server in found if value_of(server) is not None]
        empty = [server for server in found if value_of(server) is None]
        found = sorted(there, key=value_of, reverse=direction == "desc") + empty
    return found


def _found(expression: str, text: str | None) -> bool:
    try:
        return text is not None and re.search(expression, text) is not None
    except re.error as error:
        raise Invalid(f"Invalid regular expression in a filter: {error}") from None


def _found_in_addresses(expression: str, server: Server) -> bool:
    if WHOLE_ADDRESS.fullmatch(expression):
        expression = expression.replace("\\.", ".").replace(".", "\\.")
    return any(_found(expression, nic.ip_address) for nic in server.nics)
