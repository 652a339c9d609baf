"""Which servers are there, and which were? A row each: the state, beside the columns that lists are filtered and
sorted by; and a row for what each was after each of its events, so that lists can be asked for as of a moment."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from domain.log.kind import advance
from domain.log.record import Recorded
from domain.server.fold import KIND, VERSION
from domain.server.state import ACTIVE, DELETED, Server
from projections.table import Key, Rows, Table


class ServerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A server. ``state`` is the fold of its events, as JSON."""

    id: str
    cell: str
    project_id: str
    user_id: str
    name: str
    created_at: datetime
    updated_at: datetime
    launched_at: datetime | None
    vm_state: str
    task_state: str | None
    power_state: int
    host: str | None
    flavor_id: str
    image_id: str | None
    availability_zone: str | None
    deleted: bool
    unfinished: bool
    """Something is left to do for it."""
    tags: tuple[str, ...]
    """Each as it is, and once more as the project's: see ``tag_of``."""
    state: msgspec.Raw


class ServerVersion(ServerRow, frozen=True, kw_only=True):
    """What a server was from an event on, until its next one. It is never changed."""

    since: int
    """The position of the event."""


ADDRESSES = """jsonb_path_query_array((state->'nics')::jsonb, '$[*].ip_address')"""
"""A list of text, by which rows are found. NULL where the state names none."""
LAYOUT = 4
"""Raised when columns or indexes change."""

COLUMNS = {
    "id": "text",
    "cell": "text",
    "project_id": "text",
    "user_id": "text",
    "name": "text",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "launched_at": "timestamptz",
    "vm_state": "text",
    "task_state": "text",
    "power_state": "int",
    "host": "text",
    "flavor_id": "text",
    "image_id": "text",
    "availability_zone": "text",
    "deleted": "boolean",
    "unfinished": "boolean",
    "tags": "text[]",
    "state": "json",
}

TABLE = Table(
    name="servers",
    row=ServerRow,
    key=("id",),
    columns=COLUMNS,
    indexes=(
        "(project_id, created_at DESC, id DESC) WHERE NOT deleted",
        "(project_id, created_at DESC, id DESC)",  # of a moment also those that were deleted since
        "(created_at DESC, id DESC)",
        "(name) WHERE NOT deleted",
        "(cell) WHERE unfinished",
        "(host) WHERE NOT deleted",
        "(project_id, updated_at)",
        "(updated_at)",
        f"(vm_state, created_at DESC) WHERE NOT deleted AND vm_state <> '{ACTIVE}'",
        f"USING gin (({ADDRESSES})) WITH (fastupdate = off) WHERE NOT deleted",
        "USING gin (tags) WITH (fastupdate = off) WHERE NOT deleted",
    ),
)
"""The inverted indexes keep nothing back to be merged later: a question would have to read through that each time."""

VERSIONS = Table(
    name="server_versions",
    row=ServerVersion,
    key=("id", "since"),
    columns=COLUMNS | {"since": "bigint"},
    append_only=True,
)
"""Versions are found by their servers; most are written and never read."""

encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(Server)


def tag_of(project_id: str | None, tag: str) -> str:
    """A tag as a project's own, by which that project's servers are found whatever others call theirs. No tag has a
    slash. The database knows how common each is, and so which way to those servers is the shorter."""
    return tag if project_id is None else f"{project_id}/{tag}"


def row_of(cell: str, server: Server) -> ServerRow:
    """The row of a server."""
    return ServerRow(
        id=server.id,
        cell=cell,
        project_id=server.project_id,
        user_id=server.user_id,
        name=server.name,
        created_at=server.created_at,
        updated_at=server.updated_at,
        launched_at=server.launched_at,
        vm_state=server.vm_state,
        task_state=server.task_state,
        power_state=server.power_state,
        host=server.host,
        flavor_id=server.flavor.id,
        image_id=server.image.id if server.image else None,
        availability_zone=server.availability_zone,
        deleted=server.vm_state == DELETED,
        unfinished=server.unfinished,
        tags=(*server.tags, *(tag_of(server.project_id, tag) for tag in server.tags)),
        state=msgspec.Raw(encoder.encode(server)),
    )


class ServersView:
    """Folds each server's events into its row."""

    name = "servers"
    version = VERSION * 1000 + LAYOUT
    folds = True
    tables = (TABLE, VERSIONS)

    def reads(self, recorded: Recorded) -> Iterable[tuple[Table, Key]]:
        """The server's own row, unless this is its first event."""
        if recorded.aggregate.kind == "server" and recorded.version > 1:
            yield TABLE, (recorded.aggregate.id,)

    def apply(self, recorded: Recorded, rows: Rows) -> None:
        """Fold one event. An abandoned id never was a server."""
        if recorded.aggregate.kind != "server":
            return
        row = rows.get(TABLE, (recorded.aggregate.id,)) if recorded.version > 1 else None
        state = advance(KIND, decoder.decode(row.state) if row else None, recorded)
        if state and not state.abandoned:
            row = row_of(recorded.cell, state)
            rows.put(TABLE, row)
            rows.put(VERSIONS, ServerVersion(**msgspec.structs.asdict(row), since=recorded.position))
