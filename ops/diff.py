"""``lightcurve diff``: what has changed between two moments, by whom, on which request."""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from adapters.rest.compute.servers.status import status_of
from domain.errors import Invalid
from domain.server.state import DELETED, Server
from ops.past import Past, Then, written
from projections.event_log import LogRow

OTHERS = ("flavor", "keypair", "image", "host")
"""Kinds of which each event is told; what is claimed, reserved and allocated follows from the servers."""


class Wanted(NamedTuple):
    """Whose changes are told; all, where nothing is named."""

    server: str | None = None
    project: str | None = None
    host: str | None = None


async def diff(past: Past, before: str, after: str, wanted: Wanted, limit: int) -> None:
    """Print it, a paragraph for each server. Raises Invalid."""
    first, last = await past.at(before), await past.at(after)
    if any(first.moment[cell] > position for cell, position in last.moment.positions):
        raise Invalid("The first moment is later than the second one.")
    only = None if wanted.server is None else (await last.server(wanted.server)).id
    if wanted.host is not None:
        await last.host(wanted.host)
    project = None if wanted.project is None else past.names.project_id(wanted.project)
    print(f"from {first.moment} to {last.moment}")
    told = 0
    rows = await past.queries.log_between(first.moment, last.moment, ("server",), limit + 1, only)
    of_each: dict[str, list[LogRow]] = {}
    for row in rows[:limit]:
        of_each.setdefault(row.aggregate_id, []).append(row)
    for server_id, events in of_each.items():
        if only in (None, server_id):
            told += await _server(past, (first, last), server_id, events, project, wanted.host)
    others: list[LogRow] = []
    if wanted == Wanted():
        others = await past.queries.log_between(first.moment, last.moment, OTHERS, limit + 1)
        for row in others[:limit]:
            told += 1
            print(f"\n{row.type} {row.aggregate_id}\n{_by(past, row)}")
    if not told:
        print("Nothing of that has changed.")
    if max(len(rows), len(others)) > limit:
        print(f"\nOnly the first {limit} events were looked at; --limit takes more.")


async def _server(
    past: Past,
    moments: tuple[Then, Then],
    server_id: str,
    events: list[LogRow],
    project: str | None,
    host: str | None,
) -> bool:
    """Tell what has become of a server, if it is wanted; whether it is."""
    was, now = [await then.queries.server(server_id) for then in moments]
    if now is None:  # its creation was given up before it was anything
        return False
    if project not in (None, now.project_id) or host not in (None, now.host, was.host if was else None):
        return False
    print(f"\n{now.name} ({server_id}) {'; '.join(_changes(was, now)) or 'is as it was'}")
    for _, of_request in groupby(events, key=lambda row: row.request_id):
        first, *rest = list(of_request)
        kinds = ", ".join(row.type.removeprefix("server.") for row in (first, *rest))
        print(f"{_by(past, first)}: {kinds}")
    return True


def _by(past: Past, row: LogRow) -> str:
    return f"  {written(row.time)} {past.names.user(row.user_id)}, {row.request_id}"


def _changes(was: Server | None, now: Server) -> Iterator[str]:
    where = f" on {now.host}" if now.host else ""
    if was is None:
        yield f"was created{f'{where}, and deleted' if now.vm_state == DELETED else f': {status_of(now)}{where}'}"
        return
    if now.vm_state == DELETED and was.vm_state != DELETED:
        yield f"was deleted; it was {status_of(was)} on {was.host or 'no host'}"
        return
    for name, before, after in (
        ("status", status_of(was), status_of(now)),
        ("host", was.host, now.host),
        ("name", was.name, now.name),
        ("flavor", was.flavor.name, now.flavor.name),
        ("image", was.image and was.image.id, now.image and now.image.id),
        ("addresses", _addresses(was), _addresses(now)),
        ("metadata", was.metadata, now.metadata),
        ("tags", list(was.tags), list(now.tags)),
        ("description", was.description, now.description),
        ("host name", was.hostname, now.hostname),
        ("lock", bool(was.lock), bool(now.lock)),
    ):
        if before != after:
            yield f"{name}: {before} -> {after}"


def _addresses(server: Server) -> str:
    return ", ".join(nic.ip_address for nic in server.nics)
