"""Where a server may be because of other servers: by the policy of its group, and by hints that name some.

Looked up in the ledger inside the decision that claims, so that no two claims of a group can miss each other. A
server's own claims, of which it has two while it moves, never stand in its way. Those of a server that may come back
to its source count at both of its hosts.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.affinity import AFFINITY, ANTI_AFFINITY, SOFT_AFFINITY, SOFT_ANTI_AFFINITY, Terms
from domain.placement.ledger import Ledger
from domain.placement.ledger.columns import Rows

SAME_HOST, DIFFERENT_HOST = "same_host", "different_host"
"""The hints, and the names of their conditions; a group's has the name of its policy."""
SOFT = {SOFT_AFFINITY: 1, SOFT_ANTI_AFFINITY: -1}
"""What another member on a host counts for it."""


class Condition(NamedTuple):
    """A rule about hosts: it must be one of these, or none of them."""

    name: str
    host_ids: Collection[str]
    within: bool

    def allows(self, host_id: str) -> bool:
        return (host_id in self.host_ids) == self.within


def conditions(
    ledger: Ledger,
    server_id: str,
    project_id: str,
    terms: Terms | None,
    same_host: Collection[str],
    different_host: Collection[str],
) -> list[Condition]:
    """All that hold for the server now. Hints speak of servers by id; those of other projects are as if they were
    not there, since who shares a host with whom is nobody else's business."""
    found = []
    if terms and terms.policy == ANTI_AFFINITY:
        full = {host for host, others in _others(ledger, terms, server_id) if others >= terms.max_per_host}
        found.append(Condition(ANTI_AFFINITY, full, within=False))
    elif terms and terms.policy == AFFINITY:
        taken = {host for host, _ in _others(ledger, terms, server_id)}
        if taken:
            # On two hosts while one of them moves: then nobody can say where they all will be.
            found.append(Condition(AFFINITY, taken if len(taken) == 1 else (), within=True))
    if same_host:
        found.append(Condition(SAME_HOST, _hosts_of(ledger, project_id, same_host), within=True))
    if different_host:
        found.append(Condition(DIFFERENT_HOST, _hosts_of(ledger, project_id, different_host), within=False))
    return found


def _others(ledger: Ledger, terms: Terms, server_id: str) -> Iterator[tuple[str, int]]:
    """The hosts with other members of the group, and how many they have."""
    for host_id, members in ledger.groups.get(terms.group_id, {}).items():
        others = len(members) - (server_id in members)
        if others:
            yield host_id, others


def _hosts_of(ledger: Ledger, project_id: str, server_ids: Collection[str]) -> set[str]:
    claims = (ledger.claims.get(server_id) for server_id in server_ids)
    return {next(iter(claim.allocations)) for claim in claims if claim and claim.project_id == project_id}


def allowed(ledger: Ledger, rules: Collection[Condition]) -> Rows | None:
    """The rows of the hosts that all conditions allow; None for all."""
    rows: Rows | None = None
    for rule in rules:
        named = np.zeros(len(ledger.columns), dtype=np.bool_)
        named[[row for host_id in rule.host_ids if (row := ledger.columns.row_of.get(host_id)) is not None]] = True
        kept = named if rule.within else ~named
        rows = kept if rows is None else rows & kept
    return rows


def preference(ledger: Ledger, server_id: str, terms: Terms | None) -> NDArray[np.float64] | None:
    """How well each row suits a soft policy, in members; None where there is nothing to choose by."""
    sign = SOFT.get(terms.policy) if terms else None
    if terms is None or sign is None:
        return None
    counts = np.zeros(len(ledger.columns))
    for host_id, others in _others(ledger, terms, server_id):
        if (row := ledger.columns.row_of.get(host_id)) is not None:
            counts[row] = sign * others
    return counts


def told(removed: Mapping[str, int]) -> str:
    """How many hosts each of these conditions has removed, for who asked for them; empty if none has."""
    words = {
        AFFINITY: "the affinity policy of its server group",
        ANTI_AFFINITY: "the anti-affinity policy of its server group",
        SAME_HOST: "the hint same_host",
        DIFFERENT_HOST: "the hint different_host",
    }
    parts = [f"{words[name]} ruled out {count}" for name, count in removed.items() if name in words]
    return f" Of the hosts, {', and '.join(parts)}." if parts else ""
