"""``lightcurve whatif``: recorded requests for hosts, against other hosts or another order of preference."""

from collections.abc import Collection, Sequence
from contextlib import aclosing
from math import isfinite
from pathlib import Path
from typing import NamedTuple
from uuid import NAMESPACE_DNS, uuid5

from domain.errors import Invalid
from domain.fleet.host import DEFAULT_ZONE, Host
from domain.fleet.host import KIND as HOST
from domain.guest import HostDescription
from domain.placement.ledger import DISK_GB, MEMORY_MB, VCPU, Ledger, offer
from domain.placement.scheduling import HostView, Multipliers
from domain.whatif import Changed, WhatIf
from handlers.fleet.inventories import inventories
from handlers.past.until import StoreUntil
from ops.past import Past, Then
from ops.tables import table
from ops.utilisation_picture import Bars, draw

SHOWN = 50
"""Servers that would have come elsewhere, of which a line is printed."""


class Wanted(NamedTuple):
    """What shall have been otherwise."""

    multipliers: Multipliers
    without: tuple[str, ...]
    more: tuple[HostDescription, ...]


def wanted(settings: Sequence[str], without: Sequence[str], more: Sequence[str]) -> Wanted:
    """From the words of the command line. Raises Invalid."""
    chosen = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in Multipliers._fields:
            raise Invalid(f"{name} cannot be set; {', '.join(Multipliers._fields)} can.")
        try:
            chosen[name] = float(value)
        except ValueError:
            raise Invalid(f"{setting}: {value!r} is no number.") from None
        if not isfinite(chosen[name]):
            raise Invalid(f"{setting}: a multiplier is finite.")
    return Wanted(Multipliers(**chosen), tuple(without), tuple(_described(host) for host in more))


def _described(host: str) -> HostDescription:
    name, _, figures = host.partition("=")
    try:
        vcpus, memory_mb, disk_gb = (int(figure) for figure in figures.split(","))
    except ValueError:
        raise Invalid(f"{host}: a host is NAME=vcpus,memory in MiB,disk in GB.") from None
    if not name or min(vcpus, memory_mb, disk_gb) < 1:
        raise Invalid(f"{host}: a host has a name, and at least 1 of everything.")
    return HostDescription(
        name=name, hypervisor_type="", hypervisor_version=0, vcpus=vcpus, memory_mb=memory_mb, disk_gb=disk_gb
    )


def check_hosts(asked: Wanted, known: Collection[str]) -> None:
    """Raises Invalid where one is to be taken away that there was not, or added that there was."""
    if missing := set(asked.without).difference(known):
        raise Invalid(f"There was no host {', '.join(sorted(missing))}.")
    names = [host.name for host in asked.more]
    if twice := {name for name in names if name in known or names.count(name) > 1}:
        raise Invalid(f"One more host needs a name of its own: {', '.join(sorted(twice))} is taken.")


async def whatif(past: Past, since: str, until: str, asked: Wanted, picture: Path | None) -> None:
    """Go through what was recorded between two moments, and print what would have been otherwise. Raises Invalid."""
    before, after = await past.at(since), await past.at(until)
    cell = past.plane.store.cell
    if before.moment[cell] > after.moment[cell]:
        raise Invalid("The first moment is later than the second one.")
    check_hosts(asked, {host.name for host in (await after.hosts()).all(HOST.name)})
    replay = await _replay(past, before, after, asked)
    print(
        f"from {before.moment} to {after.moment}: {replay.placed} requests for a host, "
        f"{len(replay.changed)} of them would have ended otherwise"
    )
    if replay.left_out:
        print(f"{replay.left_out} recorded changes of the ledger speak of what would not have been there: left out.")
    _tell(replay.changed)
    bars = _bars(await after.ledger(), replay.ledger)
    table(
        ("HOST", "VCPUS", "INSTEAD", "MEMORY", "INSTEAD", "DISK", "INSTEAD"),
        [(bar.name, *(_percent(share) for pair in bar.shares for share in pair)) for bar in bars],
    )
    if picture:
        try:
            picture.write_text(draw(bars))  # noqa: ASYNC240 - nobody else waits in this process
        except OSError as problem:
            raise Invalid(f"The picture cannot be written: {problem}") from None
        print(f"\nThe picture is in {picture}.")


async def _replay(past: Past, before: Then, after: Then, asked: Wanted) -> WhatIf:
    store, ledger = past.plane.store, await before.ledger()
    hosts: dict[str, Host] = {host.name: host for host in (await before.hosts()).all(HOST.name)}
    more = {}
    for description in asked.more:
        host_id = str(uuid5(NAMESPACE_DNS, f"whatif.{description.name}"))
        for change in offer(ledger, host_id, description.name, inventories(description)):
            ledger.apply(change)
        more[host_id] = HostView(
            id=host_id, name=description.name, availability_zone=DEFAULT_ZONE, enabled=True, up=True
        )
    replay = WhatIf(ledger, hosts, asked.multipliers, without=asked.without, more=more)
    until = StoreUntil(store, after.moment[store.cell])
    async with aclosing(until.follow(before.moment[store.cell], "server", "ledger", "host")) as batches:  # type: ignore[type-var]
        async for batch in batches:
            for recorded in batch:
                for server_id in replay.unknown(recorded):
                    replay.know(server_id, await before.queries.server(server_id))
                replay.take(recorded)
            if not batch:
                break
    return replay


def _tell(changed: list[Changed]) -> None:
    for title, some in (
        ("would have come to another host", [each for each in changed if each.recorded and each.instead]),
        ("would have found a host", [each for each in changed if not each.recorded]),
        ("would have found none", [each for each in changed if not each.instead]),
    ):
        if some:
            print(f"\n{len(some)} {title}:")
        for each in some[:SHOWN]:
            way = f"{each.recorded or 'no host'} -> {each.instead or 'no host'}"
            print(f"  {each.name} ({each.server_id}): {way}{f'. {each.why}' if each.why else ''}")
        if len(some) > SHOWN:
            print(f"  and {len(some) - SHOWN} more")


def _bars(recorded: Ledger, instead: Ledger) -> list[Bars]:
    """The hosts by name, with the shares of what they offer that were claimed, and would have been."""
    found = []
    for provider_id in {**recorded.providers, **instead.providers}:
        name = (recorded.providers.get(provider_id) or instead.providers[provider_id]).name
        shares = tuple(
            (_share(recorded, provider_id, resource), _share(instead, provider_id, resource))
            for resource in (VCPU, MEMORY_MB, DISK_GB)
        )
        found.append(Bars(name, shares))
    return sorted(found)


def _share(ledger: Ledger, provider_id: str, resource: str) -> float | None:
    provider = ledger.providers.get(provider_id)
    offered = provider.inventories.get(resource) if provider else None
    if provider is None or offered is None:
        return None
    room = (offered.total - offered.reserved) * offered.allocation_ratio
    return provider.used.get(resource, 0) / room if room else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
