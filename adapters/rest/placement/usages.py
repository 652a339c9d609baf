"""Usages: what is claimed of a provider, and by a project."""

from typing import Any

from adapters.rest.placement import schemas
from adapters.rest.placement.allocations import UNKNOWN_TYPE
from adapters.rest.placement.existing import provider_of
from adapters.rest.placement.operation import Call, Operations, Reply
from adapters.rest.placement.policy import PROJECT_READER
from domain.ledger import Claimed, Ledger

operations = Operations()
ALL = "all"


@operations("GET", "/resource_providers/{uuid}/usages", "placement:resource_providers:usages")
async def list_provider_usages(call: Call) -> Reply:
    """By class, of everything that the provider has."""
    async with provider_of(call, f"No resource provider with uuid {call.params['uuid']} found: ") as (
        _,
        provider,
    ):
        usages = {name: provider.used.get(name, 0) for name in provider.inventories}
        return Reply({"resource_provider_generation": provider.generation, "usages": usages})


@operations("GET", "/usages", "placement:usages", rule=PROJECT_READER, first=9)
async def list_usages(call: Call) -> Reply:
    """By class, of a project or one of its users; from 1.38 on by the consumers' type."""
    query = call.query
    schemas.USAGES(call.minor).query(query)
    wanted_type = query.get("consumer_type")
    async with call.placement.recorded() as ledger:
        claims = [
            claim
            for claim in _claims_of(ledger, query["project_id"])
            if query.get("user_id") in (None, claim.user_id)
            and wanted_type in (None, ALL, claim.consumer_type or UNKNOWN_TYPE)
        ]
    if call.minor < 38:
        return Reply({"usages": _sum(claims)})
    by_type: dict[str, list[Claimed]] = {}
    for claim in claims:
        kind = ALL if wanted_type == ALL else claim.consumer_type or UNKNOWN_TYPE
        by_type.setdefault(kind, []).append(claim)
    usages: dict[str, Any] = {kind: _sum(some) | {"consumer_count": len(some)} for kind, some in by_type.items()}
    return Reply({"usages": usages})


def _claims_of(ledger: Ledger, project_id: str) -> list[Claimed]:
    return [ledger.claims[consumer_id] for consumer_id in ledger.consumers_of.get(project_id, ())]


def _sum(claims: list[Claimed]) -> dict[str, int]:
    usages: dict[str, int] = {}
    for claim in claims:
        for amounts in claim.allocations.values():
            for name, amount in amounts.items():
                usages[name] = usages.get(name, 0) + amount
    return usages
