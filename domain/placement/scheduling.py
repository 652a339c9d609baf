"""The choice of a host: filters, then weighers, then the claim. Pure; runs inside the ledger's decision.

It is the search for allocation candidates, with the scheduler's own order and filters on top. The rules and their
names follow Nova's scheduler
(https://docs.openstack.org/nova/latest/admin/scheduling.html).
"""

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.affinity import Member, Terms
from domain.errors import NoCapacity, Refused, Stale
from domain.image_properties import X86_64, runs_on
from domain.placement import grouping
from domain.placement.candidates import Group, Request, candidates, nearest
from domain.placement.grouping import Condition
from domain.placement.ledger import DISK_GB, MEMORY_MB, VCPU, Claimed, Ledger

NO_VALID_HOST = "No valid host was found. There are not enough hosts available."


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler knows of a host beside its resources."""

    id: str
    """Also the id of its resource provider."""
    name: str
    availability_zone: str
    enabled: bool
    up: bool
    architecture: str = X86_64
    address: str = ""


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a server needs of its host."""

    server_id: str
    epoch: int
    project_id: str
    user_id: str
    resources: dict[str, int]
    availability_zone: str | None = None
    host: str | None = None
    excluded_hosts: tuple[str, ...] = ()
    """Names of the hosts that already failed this server."""
    source: str | None = None
    """The host from which it moves."""
    architecture: str | None = None
    """That its image is made for; None runs on any."""
    request_id: str | None = None
    required: frozenset[str] = frozenset()
    """Traits that the flavor wants."""
    forbidden: frozenset[str] = frozenset()
    """And those that it does not."""
    group: Terms | None = None
    same_host: tuple[str, ...] = ()
    """Servers with one of which it shall share its host."""
    different_host: tuple[str, ...] = ()
    """And with which it shall not."""
    near: str | None = None
    """The network in which its host's address shall be."""


class Multipliers(NamedTuple):
    """How much the room that a host has counts for it; negative ones pack what 1 spreads. Nova's settings."""

    ram_weight_multiplier: float = 1.0
    cpu_weight_multiplier: float = 1.0
    disk_weight_multiplier: float = 1.0


SPREAD = Multipliers()


Filter = Callable[[HostView, Demand], bool]

FILTERS: dict[str, Filter] = {
    "requested_host": lambda host, demand: demand.host in (None, host.name),
    "availability_zone": lambda host, demand: demand.availability_zone in (None, host.availability_zone),
    "architecture": lambda host, demand: runs_on(demand.architecture, host.architecture),
    "host_enabled": lambda host, _: host.enabled,
    "host_up": lambda host, _: host.up,
    "another_host": lambda host, demand: host.name != demand.source,
    "not_tried_before": lambda host, demand: host.name not in demand.excluded_hosts,
    "build_near_host_ip": lambda host, demand: demand.near is None or _is_near(host.address, demand.near),
}
"""Every rule beside capacity and other servers, by the name under which the explanation counts it."""


def place(
    ledger: Ledger, hosts: Mapping[str, HostView], demand: Demand, multipliers: Multipliers = SPREAD
) -> Claimed:
    """The claim on the best host. ``hosts`` is by id.

    A claim of the same (server, epoch) that stands already is the answer: asking again changes nothing.
    Raises NoCapacity, with the number of hosts that each rule removed; Stale for an epoch that is over.
    """
    standing = ledger.claims.get(demand.server_id)
    if standing and standing.epoch == demand.epoch:
        return standing
    if standing and standing.epoch > demand.epoch:
        raise Stale(f"Server {demand.server_id} was assigned anew meanwhile.")
    request = Request(groups={"": _group(demand)})
    allowed = grouping.allowed(ledger, _conditions(ledger, demand))
    preference = grouping.preference(ledger, demand.server_id, demand.group)

    def order(rows: NDArray[np.intp]) -> Iterator[int]:
        kept = rows if allowed is None else rows[allowed[rows]]
        return _best_first(ledger, kept, multipliers, preference)

    try:
        for host_id, candidate in candidates(ledger, request, order):
            host = hosts.get(host_id)
            # What a server is placed on must be among what it takes from.
            if host and host.id in candidate.allocations and _passes(host, demand):
                others = {one: dict(amounts) for one, amounts in candidate.allocations.items() if one != host.id}
                return Claimed(
                    consumer_id=demand.server_id,
                    epoch=demand.epoch,
                    project_id=demand.project_id,
                    user_id=demand.user_id,
                    allocations={host.id: dict(candidate.allocations[host.id]), **others},
                    generation=standing.generation + 1 if standing else 1,
                    request_id=demand.request_id,
                    member=_member(demand),
                )
    except Refused as refusal:
        # A resource class that there is not: no host can have it.
        raise NoCapacity(f"{NO_VALID_HOST} {refusal.message}") from None
    raise explain(ledger, hosts, demand)


def _member(demand: Demand) -> Member | None:
    return Member(group_id=demand.group.group_id, server_id=demand.server_id) if demand.group else None


def _conditions(ledger: Ledger, demand: Demand) -> list[Condition]:
    return grouping.conditions(
        ledger, demand.server_id, demand.project_id, demand.group, demand.same_host, demand.different_host
    )


def _is_near(address: str, network: str) -> bool:
    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return False  # a host that has told no address


def _group(demand: Demand) -> Group:
    required = tuple(frozenset((trait,)) for trait in sorted(demand.required))
    return Group(resources=demand.resources, required=required, forbidden=demand.forbidden)


def explain(ledger: Ledger, hosts: Mapping[str, HostView], demand: Demand) -> NoCapacity:
    """Why no host can take it: each rule in turn, how many of the remaining hosts it removed, and which of those that
    only lack room lacks least."""
    removed: dict[str, int] = {}
    remaining = list(hosts.values())
    for name, passes in FILTERS.items():
        kept = [host for host in remaining if passes(host, demand)]
        if len(kept) < len(remaining):
            removed[name] = len(remaining) - len(kept)
        remaining = kept
    for condition in _conditions(ledger, demand):
        kept = [host for host in remaining if condition.allows(host.id)]
        if len(kept) < len(remaining):
            removed[condition.name] = len(remaining) - len(kept)
        remaining = kept
    if demand.required or demand.forbidden:
        kept = [host for host in remaining if _has_traits(ledger, host, demand)]
        if len(kept) < len(remaining):
            removed["traits"] = len(remaining) - len(kept)
        remaining = kept
    suitable = remaining
    for resource_class, amount in demand.resources.items():
        fits = ledger.columns.fits(resource_class, amount)
        rows = ledger.columns.row_of
        kept = [host for host in remaining if host.id in rows and fits[rows[host.id]]]
        if len(kept) < len(remaining):
            removed[resource_class] = len(remaining) - len(kept)
        remaining = kept
    story = ", ".join(f"{name} removed {count}" for name, count in removed.items())
    miss = nearest(ledger, (host.id for host in suitable if host.id in ledger.providers), demand.resources)
    words = f" {miss}" if miss else ""
    return NoCapacity(f"{NO_VALID_HOST} Of {len(hosts)} hosts, {story or 'none was there'}.{words}", removed)


def _has_traits(ledger: Ledger, host: HostView, demand: Demand) -> bool:
    provider = ledger.providers.get(host.id)
    traits = provider.traits if provider else frozenset[str]()
    return demand.required.issubset(traits) and demand.forbidden.isdisjoint(traits)


def suits(ledger: Ledger, host: HostView, demand: Demand) -> bool:
    """Whether the host is what the demand asks for, but for its room, and but for being another one. Where a server
    is already it is not asked who else is."""
    elsewhere = msgspec.structs.replace(demand, source=None)
    return _passes(host, elsewhere) and _has_traits(ledger, host, demand)


def _passes(host: HostView, demand: Demand) -> bool:
    return all(passes(host, demand) for passes in FILTERS.values())


def _weights(ledger: Ledger, rows: NDArray[np.intp], multipliers: Multipliers) -> NDArray[np.float64]:
    """The sum of free RAM, CPU and disk, each scaled to 0..1 over the candidates: spread, as Nova's default."""
    weights = np.zeros(len(rows))
    for resource_class, multiplier in zip((MEMORY_MB, VCPU, DISK_GB), multipliers, strict=True):
        free = ledger.columns.free(resource_class)[rows]
        low, high = free.min(), free.max()
        if high > low:
            weights += multiplier * ((free - low) / (high - low))
    return weights


def _best_first(
    ledger: Ledger, rows: NDArray[np.intp], multipliers: Multipliers, preference: NDArray[np.float64] | None
) -> Iterator[int]:
    """The best row first; the others are put in order only if it is refused. Preference goes before weights."""
    if not len(rows):
        return
    weights = _weights(ledger, rows, multipliers)
    if preference is not None:
        weights += preference[rows] * (np.ptp(weights) + 1.0)
    best = int(rows[int(np.argmax(weights))])
    yield best
    for index in np.argsort(-weights, kind="stable"):
        if rows[index] != best:
            yield int(rows[index])
