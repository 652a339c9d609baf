"""The reshaper: inventories and allocations change together."""

from adapters.rest.placement import schemas
from adapters.rest.placement.allocations import new_allocations
from adapters.rest.placement.inventories import GENERATION, inventory
from adapters.rest.placement.operation import Call, Operations, Reply
from adapters.rest.placement.policy import SERVICE
from domain.placement.ledger.reshape import Reshaped, reshape

operations = Operations()


@operations("POST", "/reshaper", "placement:reshaper:reshape", rule=SERVICE, first=30)
async def post_reshaper(call: Call) -> Reply:
    """All of it, or nothing."""
    body = await call.body(schemas.RESHAPER)
    providers = {
        provider_id: Reshaped(one[GENERATION], {name: inventory(raw) for name, raw in one["inventories"].items()})
        for provider_id, one in body["inventories"].items()
    }
    claims = [new_allocations(consumer_id, one, call.minor) for consumer_id, one in body["allocations"].items()]
    await call.placement.write(call.context, lambda ledger: reshape(ledger, providers, claims))
    return Reply(status=204, dated=False)
