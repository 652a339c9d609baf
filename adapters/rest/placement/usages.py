"""Usages: what is claimed of a provider, and by a project."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from adapters.rest.placement import schemas
from adapters.rest.placement.allocations import UNKNOWN_TYPE
from adapters.rest.placement.existing import provider_of
from adapters.rest.placement.operation import Call, Operations, Reply
from adapters.rest.placement.policy import PROJECT_READER
from domain.placement.ledger import Usage

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
        found = [
            (consumer_type or UNKNOWN_TYPE, usage)
            for (user_id, consumer_type), usage in ledger.usage_of.get(query["project_id"], {}).items()
            if query.get("user_id") in (None, user_id) and wanted_type in (None, ALL, consumer_type or UNKNOWN_TYPE)
        ]
    if call.minor < 38:
        return Reply({"usages": _sum(usage for _, usage in found)})
    by_type: dict[str, list[Usage]] = {}
    for kind, usage in found:
        by_type.setdefault(ALL if wanted_type == ALL else kind, []).append(usage)
    usages: dict[str, Any] = {
        kind: _sum(some) | {"consumer_count": sum(usage.consumers for usage in some)}
        for kind, some in by_type.items()
    }
    return Reply({"usages": usages})


def _sum(usages: Iterable[Usage]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for usage in usages:
        total.update(usage.amounts)
    return dict(total)
