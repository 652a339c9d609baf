"""Resource providers."""

from typing import Any
from uuid import UUID

from msgspec import UNSET

from adapters.rest.placement import schemas
from adapters.rest.placement.existing import check_provider, provider_of
from adapters.rest.placement.operation import Call, Operations, Reply
from adapters.rest.placement.query import member_of, required_traits, resources
from domain.placement.candidates.providers import Filters, matching
from domain.placement.ledger import Ledger, LedgerChange, Provider
from domain.placement.ledger import providers as decisions

operations = Operations()
POLICY = "placement:resource_providers"

LINKS = ((0, "inventories"), (0, "usages"), (1, "aggregates"), (6, "traits"), (11, "allocations"))
"""What a provider links to, and since which microversion."""


def url(provider_id: str) -> str:
    return f"/resource_providers/{provider_id}"


def document(provider: Provider, minor: int) -> dict[str, Any]:
    own = url(provider.id)
    links = [{"rel": "self", "href": own}]
    links += [{"rel": rel, "href": f"{own}/{rel}"} for first, rel in LINKS if minor >= first]
    shown: dict[str, Any] = {
        "uuid": provider.id,
        "name": provider.name,
        "generation": provider.generation,
        "links": links,
    }
    if minor >= 14:
        shown["parent_provider_uuid"] = provider.parent_id
        shown["root_provider_uuid"] = provider.root_id
    return shown


@operations("GET", "/resource_providers", f"{POLICY}:list")
async def list_providers(call: Call) -> Reply:
    """The providers that meet every filter."""
    schemas.PROVIDER_LIST(call.minor).query(call.query)
    query = call.query
    aggregates, not_aggregates = member_of(call, "")
    required, forbidden = required_traits(call, "")
    filters = Filters(
        name=query.get("name"),
        provider_id=query.get("uuid"),
        in_tree=query.get("in_tree"),
        resources=resources(query["resources"]) if "resources" in query else {},
        required=required,
        forbidden=forbidden,
        member_of=aggregates,
        not_member_of=not_aggregates,
    )
    async with call.placement.recorded() as ledger:
        shown = [document(provider, call.minor) for provider in matching(ledger, filters)]
    return Reply({"resource_providers": shown})


@operations("POST", "/resource_providers", f"{POLICY}:create")
async def create_provider(call: Call) -> Reply:
    """A new one; from 1.20 on the answer shows it."""
    body = await call.body(schemas.PROVIDER_CREATE)
    provider_id = str(UUID(body["uuid"])) if body.get("uuid") else call.ids.uuid()
    name, parent_id = body["name"], body.get("parent_provider_uuid")
    root_id = provider_id

    def decide(ledger: Ledger) -> tuple[LedgerChange, ...]:
        nonlocal root_id
        changes = decisions.create(ledger, provider_id, name, parent_id)
        root_id = ledger.providers[parent_id].root_id if parent_id else provider_id
        return changes

    await call.placement.write(call.context, decide)
    if call.minor < 20:
        return Reply(status=201, location=url(provider_id), dated=False)
    created = Provider(id=provider_id, name=name, parent_id=parent_id, root_id=root_id)
    return Reply(document(created, call.minor), location=url(provider_id))


@operations("GET", "/resource_providers/{uuid}", f"{POLICY}:show")
async def show_provider(call: Call) -> Reply:
    async with provider_of(call) as (_, provider):
        return Reply(document(provider, call.minor))


@operations("PUT", "/resource_providers/{uuid}", f"{POLICY}:update")
async def update_provider(call: Call) -> Reply:
    """Another name, or from 1.14 on another place; from 1.37 on it may leave its parent."""
    await check_provider(call)
    body = await call.body(schemas.PROVIDER_UPDATE)
    provider_id = call.params["uuid"]
    await call.placement.write(
        call.context,
        lambda ledger: decisions.update(
            ledger,
            provider_id,
            body["name"],
            body.get("parent_provider_uuid", UNSET),
            may_move=call.minor >= 37,
        ),
    )
    async with provider_of(call) as (_, provider):
        return Reply(document(provider, call.minor))


@operations("DELETE", "/resource_providers/{uuid}", f"{POLICY}:delete")
async def delete_provider(call: Call) -> Reply:
    await call.placement.write(call.context, lambda ledger: decisions.delete(ledger, call.params["uuid"]))
    return Reply(status=204, dated=False)
