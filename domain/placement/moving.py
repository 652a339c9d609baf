"""Claims of servers that move: the new one is taken beside the old, in one event of the ledger, and at the end one
of the two is given back. At no moment does anything run that nobody has claimed.

The old claim stands under the move's own id meanwhile, as Nova keeps it under its migration's. It has no epoch: that
belongs to the server's claim, and makes one void that is taken too late.
"""

from collections.abc import Mapping

import msgspec

from domain.errors import NoCapacity, Refused
from domain.placement.ledger import Claimed, Ledger, LedgerChange, Released
from domain.placement.ledger.allocations import NewAllocations, decide
from domain.placement.scheduling import SPREAD, Demand, HostView, Multipliers, place, suits

MIGRATION = "MIGRATION"
"""The type of consumer, by Placement's convention."""

replace = msgspec.structs.replace


def claim_target(
    ledger: Ledger,
    hosts: Mapping[str, HostView],
    demand: Demand,
    move_id: str,
    *,
    may_stay: bool = False,
    multipliers: Multipliers = SPREAD,
) -> tuple[Claimed, ...]:
    """Claim the best host beside what the server has; nothing to do if that was done for this epoch. ``may_stay``: on
    its own host, where no other can take it but that can bear the difference.

    Raises NoCapacity, and Stale for an epoch that is over.
    """
    standing = ledger.claims.get(demand.server_id)
    try:
        claim = place(ledger, hosts, demand, multipliers)
    except NoCapacity:
        larger = _larger(ledger, hosts, demand, standing) if may_stay and standing else None
        if larger is None:
            raise
        return (larger,)
    if standing is claim:
        return ()
    if standing is None or move_id in ledger.claims:
        # Another target failed before: what stands under the move's id is the source's already.
        return (claim,)
    kept = replace(
        standing, consumer_id=move_id, epoch=0, generation=1, consumer_type=MIGRATION, uncounted=(),
        request_id=demand.request_id,
    )  # fmt: skip
    return kept, claim


def _larger(ledger: Ledger, hosts: Mapping[str, HostView], demand: Demand, standing: Claimed) -> Claimed | None:
    """The server's claim, large enough for what it is and what it shall be: never are both on."""
    host = next((host for host in hosts.values() if host.name == demand.source), None)
    if host is None or not suits(ledger, host, demand) or list(standing.allocations) != [host.id]:
        return None
    held = standing.allocations[host.id]
    amounts = {name: max(held.get(name, 0), demand.resources.get(name, 0)) for name in {**held, **demand.resources}}
    wanted = NewAllocations(
        consumer_id=demand.server_id,
        allocations={host.id: amounts},
        project_id=standing.project_id,
        user_id=standing.user_id,
    )
    try:
        (claim,) = decide(ledger, (wanted,), "")
    except Refused:
        return None
    assert isinstance(claim, Claimed)
    return replace(claim, epoch=demand.epoch, request_id=demand.request_id)


def settle(
    ledger: Ledger,
    server_id: str,
    move_id: str,
    host_id: str,
    amounts: Mapping[str, int],
    epoch: int,
    request_id: str | None,
    left_on: str | None = None,
) -> tuple[LedgerChange, ...]:
    """Leave the server the claim on that host, and under the move's id nothing, or what it has claimed on the other
    host if something of it may be left on that one; nothing to do if it is so."""
    standing, kept = ledger.claims.get(server_id), ledger.claims.get(move_id)
    ended = _ended(standing, kept, left_on, request_id)
    if standing is None or standing.epoch > epoch:
        return ended
    allocations = standing.allocations
    if host_id not in allocations and kept and host_id in kept.allocations:
        allocations = kept.allocations
    if host_id not in allocations or len(allocations) == 1:
        allocations = {host_id: dict(amounts)}
    if allocations == standing.allocations and epoch == standing.epoch:
        return ended
    claim = replace(
        standing, allocations=allocations, epoch=epoch, generation=standing.generation + 1, uncounted=(),
        request_id=request_id,
    )  # fmt: skip
    return claim, *ended


def _ended(
    standing: Claimed | None, kept: Claimed | None, left_on: str | None, request_id: str | None
) -> tuple[LedgerChange, ...]:
    """What becomes of the claim under the move's id."""
    if kept is None or (left_on is not None and left_on in kept.allocations):
        return ()
    if left_on is None or standing is None or left_on not in standing.allocations:
        return (Released(consumer_id=kept.consumer_id, request_id=request_id),)
    # What is left on a dead host counts for no server group.
    return (
        replace(
            kept, allocations=standing.allocations, generation=kept.generation + 1, uncounted=(),
            request_id=request_id, member=None,
        ),
    )  # fmt: skip
