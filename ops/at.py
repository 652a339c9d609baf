"""``lightcurve at``: what was at a moment."""

from adapters.rest.compute.servers.status import status_of
from domain.catalogue.quota import Quota
from domain.errors import Invalid
from domain.placement.ledger import Ledger, Provider
from domain.server.listing import ServerFilter
from domain.server.state import Server
from ops.past import Past, Then, written
from ops.status import switched
from ops.tables import table
from ops.whereabouts import stays

MOST_EVENTS = 1_000_000
"""Of servers that are looked at."""


async def servers(past: Past, moment: str, project: str | None, host: str | None, limit: int) -> None:
    """Print a line for each server that there was, newest first."""
    then = await past.at(moment)
    if host is not None:
        await then.host(host)
    project_id = None if project is None else past.names.project_id(project)
    wanted = ServerFilter(project_id=project_id, host=host, limit=limit)
    found = await then.queries.servers(wanted)
    say(then, f"the newest {limit} servers" if len(found) == limit else f"servers: {len(found)}")
    _servers(past, found)


async def server(past: Past, moment: str, name: str) -> None:
    """Print what a server was, and what had been done to it."""
    then = await past.at(moment)
    found = await then.server(name)
    say(then, f"server {found.name}")
    image = found.image.id if found.image else "-"
    facts = {
        "id": found.id,
        "project": past.names.project(found.project_id),
        "user": past.names.user(found.user_id),
        "status": f"{status_of(found)}{f' ({found.task_state})' if found.task_state else ''}",
        "host": found.host or "-",
        "flavor": f"{found.flavor.name}: {found.flavor.vcpus} vcpus, {found.flavor.ram_mb} MiB, "
        f"{found.flavor.disk_gb} GB",
        "image": image,
        "key": found.key_name or "-",
        "addresses": ", ".join(f"{nic.ip_address} ({nic.network_name})" for nic in found.nics) or "-",
        "metadata": ", ".join(f"{key}={value}" for key, value in found.metadata.items()) or "-",
        "tags": ", ".join(found.tags) or "-",
        "created": written(found.created_at),
        "deleted": written(found.terminated_at),
    }
    if found.secrets or found.sealed_password:
        erased = await past.erased(found.id)
        facts["sealed"] = "user data and passwords" + (f"; erased {written(erased)}" if erased else "")
    if found.fault:
        facts["fault"] = found.fault.message
    for fact, value in facts.items():
        print(f"  {fact:10} {value}")
    table(
        ("ACTION", "BY", "REQUEST", "BEGUN", "FINISHED", "RESULT"),
        [
            (
                action.action,
                past.names.user(action.user_id),
                action.request_id,
                written(action.start_time),
                written(action.finish_time),
                (action.message or "Success") if action.finish_time else "under way",
            )
            for action in reversed(await then.queries.actions(found.id))
        ],
    )


async def host(past: Past, moment: str, name: str) -> None:
    """Print what a host was, and which servers were there."""
    then = await past.at(moment)
    found = await then.host(name)
    say(then, f"host {name}")
    offered = found.description
    provider = (await then.ledger()).providers.get(found.id)
    facts = {
        "id": found.id,
        "status": switched(found),
        "zone": found.availability_zone,
        "offers": f"{offered.vcpus} vcpus, {offered.memory_mb} MiB, {offered.disk_gb} GB",
        "claimed": _amounts(provider.used) if provider else "-",
    }
    for fact, value in facts.items():
        print(f"  {fact:10} {value}")
    _servers(past, await then.queries.servers(ServerFilter(host=name)))


async def host_until(past: Past, since: str, until: str, name: str) -> None:
    """Print which servers were on a host between two moments, and from when until when."""
    first, last = await past.at(since), await past.at(until)
    if any(first.moment[cell] > position for cell, position in last.moment.positions):
        raise Invalid("The first moment is later than the second one.")
    await last.host(name)
    there = {server.id for server in await first.queries.servers(ServerFilter(host=name))}
    rows = await past.queries.log_between(first.moment, last.moment, ("server",), MOST_EVENTS)
    begun = {cell: first.moment[cell] for cell in first.moment.cells}
    found: list[tuple[str, ...]] = []
    for server_id in there | {row.aggregate_id for row in rows}:
        history = await last.history(server_id)
        before = [recorded.meta.time for recorded in history if recorded.position <= begun[recorded.cell]]
        for stay in stays(history):
            if stay.host == name and (stay.until is None or not before or stay.until > before[-1]):
                server = await last.server(server_id)
                times = written(stay.since), written(stay.until)
                found.append((server.id, server.name, past.names.project(server.project_id), *times))
    print(f"host {name}, from {first.moment} to {last.moment}: servers: {len(found)}")
    found.sort(key=lambda row: row[3])
    table(("ID", "NAME", "PROJECT", "THERE SINCE", "UNTIL"), found)


async def usages(past: Past, moment: str) -> None:
    """Print what each project used."""
    then = await past.at(moment)
    quotas: list[tuple[str, Quota]] = list((await then.quotas()).states("quota"))
    say(then, "usages")
    table(
        ("PROJECT", "SERVERS", "VCPUS", "MEMORY MiB"),
        [
            (past.names.project(project), len(used.reservations), used.cores, used.ram_mb)
            for project, used in sorted(quotas, key=lambda each: past.names.project(each[0]))
        ],
    )


async def claims(past: Past, moment: str, name: str) -> None:
    """Print who had claims on a provider."""
    then = await past.at(moment)
    ledger = await then.ledger()
    provider = _provider(ledger, name)
    say(then, f"claims on {provider.name}, {_amounts(provider.used) or 'nothing'} in all")
    table(
        ("CONSUMER", "PROJECT", "USER", "CLAIMS"),
        [
            (
                consumer,
                past.names.project(claim.project_id),
                past.names.user(claim.user_id),
                _amounts(claim.allocations[provider.id]),
            )
            for consumer in sorted(provider.consumers)
            if (claim := ledger.claims[consumer])
        ],
    )


def _provider(ledger: Ledger, name: str) -> Provider:
    found = ledger.providers.get(name)
    found = found or next((provider for provider in ledger.providers.values() if provider.name == name), None)
    if found is None:
        raise Invalid(f"There was no resource provider {name}.")
    return found


def _amounts(resources: dict[str, int]) -> str:
    return ", ".join(f"{amount} {name}" for name, amount in sorted(resources.items()) if amount)


def say(then: Then, what: str) -> None:
    print(f"{what}, as of {then.moment}")


def _servers(past: Past, found: list[Server]) -> None:
    table(
        ("ID", "NAME", "STATUS", "HOST", "PROJECT", "CREATED"),
        [
            (
                server.id,
                server.name,
                status_of(server),
                server.host or "-",
                past.names.project(server.project_id),
                written(server.created_at),
            )
            for server in found
        ],
    )
