"""``lightcurve log lost``: the events that a log goes on without since a recovery, kept apart in the archive."""

from domain.log.checkpoint import Entry
from ops.settings import Settings
from projections.archive import Archive
from projections.postgres import connect


async def show(settings: Settings, recovery_id: str | None, *, bodies: bool) -> None:
    """Print those of a recovery, or how many there are of each."""
    async with await connect(settings.database.url, "lightcurve-log-lost") as connection:
        archive = Archive(connection)
        await archive.open()
        if recovery_id is None:
            for recovery, cell, events, first, last in await archive.lost():
                print(f"{recovery}: {events} events of cell {cell}, of positions {first} to {last}")
            return
        async for cell, entry in archive.lost_entries(recovery_id):
            print(_line(cell, entry))
            if bodies:
                print(f"    {entry.body.decode(errors='replace')}")


def _line(cell: str, entry: Entry) -> str:
    lines = entry.headers.decode(errors="replace").split("\r\n")
    told = dict(line.partition(": ")[::2] for line in lines)
    by = told.get("ce-userid", "the control plane")
    return (
        f"{told.get('ce-time', '')} {cell}#{entry.position} {told.get('ce-type', '')}, {told.get('ce-subject', '')}, "
        f"by {by}, {told.get('ce-requestid', '')}"
    )
