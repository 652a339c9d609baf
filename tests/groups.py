"""Whether the members of server groups are where their policies allow."""

from collections import defaultdict
from collections.abc import Iterable

from domain.affinity import AFFINITY, ANTI_AFFINITY, Terms
from domain.placement.ledger import Ledger


def broken(ledger: Ledger, groups: Iterable[Terms]) -> list[str]:
    """Which of these hard policies the claims break, in words. A server that moves counts on both hosts."""
    found = []
    for terms in groups:
        hosts: dict[str, set[str]] = defaultdict(set)
        for claim in ledger.claims.values():
            if claim.member and claim.member.group_id == terms.group_id:
                hosts[next(iter(claim.allocations))].add(claim.member.server_id)
        servers = {server_id for members in hosts.values() for server_id in members}
        index = {host: set(members) for host, members in ledger.groups.get(terms.group_id, {}).items()}
        if index != hosts:
            found.append(f"group {terms.group_id} has {dict(hosts)}, and its index says {index}")
        if terms.policy == ANTI_AFFINITY:
            found += [
                f"group {terms.group_id} has {sorted(members)} on {host}"
                for host, members in hosts.items()
                if len(members) > terms.max_per_host
            ]
        if terms.policy == AFFINITY and len(servers) > 1 and len(hosts) > 1:
            found.append(f"group {terms.group_id} is on {sorted(hosts)}")
    return found
