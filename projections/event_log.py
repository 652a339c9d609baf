"""Which events concern this server, this request, this time? An index of the log; the bodies stay in the log."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from domain.log.record import Recorded
from projections.table import Key, Rows, Table


class LogRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event, or one part of an event that holds several."""

    cell: str
    position: int
    part: int
    """0 for an event that is one whole; 1, 2, … for the changes in one that holds several."""
    time: datetime
    type: str
    """The event's type; of a part, the event's type and the change: ``ledger.changed/claimed``."""
    kind: str
    aggregate_id: str
    version: int
    event_id: str
    request_id: str
    global_request_id: str | None
    server_id: str | None
    user_id: str | None
    project_id: str | None


TABLE = Table(
    name="event_log",
    row=LogRow,
    key=("cell", "position", "part"),
    columns={
        "cell": "text",
        "position": "bigint",
        "part": "int",
        "time": "timestamptz",
        "type": "text",
        "kind": "text",
        "aggregate_id": "text",
        "version": "bigint",
        "event_id": "text",
        "request_id": "text",
        "global_request_id": "text",
        "server_id": "text",
        "user_id": "text",
        "project_id": "text",
    },
    indexes=(
        "(server_id, time) WHERE server_id IS NOT NULL",
        "(request_id)",
        "(global_request_id) WHERE global_request_id IS NOT NULL",
        "(time)",
    ),
    append_only=True,
)


class EventLogView:
    """One row an event, or one for each of its changes."""

    name = "event_log"
    version = 2
    folds = False
    tables = (TABLE,)

    def reads(self, _recorded: Recorded) -> Iterable[tuple[Table, Key]]:
        """Nothing: rows are only added."""
        return ()

    def apply(self, recorded: Recorded, rows: Rows) -> None:
        for row in _rows(recorded):
            rows.put(TABLE, row)


def _rows(recorded: Recorded) -> Iterator[LogRow]:
    meta, event = recorded.meta, recorded.event
    type_name = str(event.__struct_config__.tag)
    whole = LogRow(
        cell=recorded.cell,
        position=recorded.position,
        part=0,
        time=meta.time,
        type=type_name,
        kind=recorded.aggregate.kind,
        aggregate_id=recorded.aggregate.id,
        version=recorded.version,
        event_id=meta.event_id,
        request_id=meta.request_id,
        global_request_id=meta.global_request_id,
        server_id=recorded.aggregate.id if recorded.aggregate.kind == "server" else getattr(event, "server_id", None),
        user_id=meta.user_id,
        project_id=meta.project_id,
    )
    changes: tuple[Any, ...] | None = getattr(event, "changes", None)
    if changes is None:
        yield whole
        return
    for part, change in enumerate(changes, start=1):
        yield msgspec.structs.replace(
            whole,
            part=part,
            type=f"{type_name}/{change.__struct_config__.tag}",
            request_id=change.request_id or meta.request_id,
            server_id=getattr(change, "server_id", None) or getattr(change, "consumer_id", None),
        )
