"""Which hosts are there?"""

from collections.abc import Iterable

import msgspec

from domain.fleet.host import KIND, Host
from domain.log.kind import advance
from domain.log.record import Recorded
from projections.table import Key, Rows, Table


class HostRow(msgspec.Struct, frozen=True, kw_only=True):
    """A host. ``state`` is the fold of its events."""

    name: str
    host_id: str
    cell: str
    state: Host


TABLE = Table(
    name="hosts",
    row=HostRow,
    key=("name",),
    columns={"name": "text", "host_id": "text", "cell": "text", "state": "json"},
)


class HostsView:
    """Folds each host's events into its row."""

    name = "hosts"
    version = 1
    folds = True
    tables = (TABLE,)

    def reads(self, recorded: Recorded) -> Iterable[tuple[Table, Key]]:
        if recorded.aggregate.kind == "host" and recorded.version > 1:
            yield TABLE, (recorded.aggregate.id,)

    def apply(self, recorded: Recorded, rows: Rows) -> None:
        if recorded.aggregate.kind != "host":
            return
        row: HostRow | None = rows.get(TABLE, (recorded.aggregate.id,)) if recorded.version > 1 else None
        state = advance(KIND, row.state if row else None, recorded)
        name = recorded.aggregate.id
        if state:
            rows.put(TABLE, HostRow(name=name, host_id=state.id, cell=recorded.cell, state=state))
