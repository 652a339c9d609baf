"""The aggregates that a provider is in."""

from typing import Any

from adapters.rest.placement import schemas
from adapters.rest.placement.existing import check_provider, provider_of
from adapters.rest.placement.operation import Call, Operations, Reply
from domain.placement.ledger.providers import set_aggregates

operations = Operations()
POLICY = "placement:resource_providers:aggregates"
PATH = "/resource_providers/{uuid}/aggregates"
GENERATION_FROM = 19


def _document(call: Call, aggregates: list[str], generation: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"aggregates": aggregates}
    if call.minor >= GENERATION_FROM:
        shown["resource_provider_generation"] = generation
    return shown


@operations("GET", PATH, f"{POLICY}:list", first=1)
async def list_aggregates(call: Call) -> Reply:
    async with provider_of(call) as (_, provider):
        return Reply(_document(call, list(provider.aggregates), provider.generation))


@operations("PUT", PATH, f"{POLICY}:update", first=1)
async def put_aggregates(call: Call) -> Reply:
    """The provider is in exactly these aggregates; from 1.19 on its generation is the guard."""
    await check_provider(call)
    body = await call.body(schemas.AGGREGATES)
    generation: int | None = None
    aggregates = body
    if call.minor >= GENERATION_FROM:
        aggregates, generation = body["aggregates"], body["resource_provider_generation"]
    await call.placement.write(
        call.context, lambda ledger: set_aggregates(ledger, call.params["uuid"], aggregates, generation)
    )
    return Reply(_document(call, aggregates, (generation or 0) + 1))
