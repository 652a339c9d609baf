"""However many candidates there are, an answer has no more than the operator allows."""

from uuid import UUID

import pytest

from domain.placement.ledger import InventoriesSet, Inventory, ProviderCreated
from handlers.context import Context
from handlers.log.ledger_feed import LedgerFeed
from tests.adapters.rest.placement.test_gate import LATEST, placement
from tests.aio import asynchronous

PROVIDERS = [str(UUID(int=number)) for number in range(5)]


async def _provide(feed: LedgerFeed) -> None:
    for provider_id in PROVIDERS:
        changes = (
            ProviderCreated(provider_id=provider_id, name=provider_id),
            InventoriesSet(provider_id=provider_id, inventories={"VCPU": Inventory(total=8)}),
        )
        await feed.writer.submit(Context(request_id="req-1"), lambda _, made=changes: made)


@pytest.mark.parametrize(
    ("most", "limit", "given"),
    [(None, "", 5), (3, "", 3), (3, "&limit=2", 2), (3, "&limit=4", 3), (10, "", 5)],
)
@asynchronous
async def test_as_many_as_the_operator_allows(most: int | None, limit: str, given: int):
    async with placement(prepare=_provide, max_candidates=most) as client:
        path = f"/allocation_candidates?resources=VCPU:1{limit}"
        answer = await client.request("GET", path, headers=LATEST)
        assert answer.status == 200, answer
        assert len(answer.body["allocation_requests"]) == given
        assert len(answer.body["provider_summaries"]) == given
