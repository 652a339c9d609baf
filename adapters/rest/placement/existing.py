"""Looking something up before its body is even read, as Placement does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.rest.placement.operation import Call
from domain.placement.ledger.refusals import find
from domain.placement.ledger.state import Ledger, Provider


@asynccontextmanager
async def provider_of(call: Call, before: str = "") -> AsyncIterator[tuple[Ledger, Provider]]:
    """The ledger, and the provider in the path; nothing may be awaited in the context. Raises Refused (404), but only
    after having looked in the log."""
    provider_id = call.params["uuid"]
    if provider_id not in call.placement.state.providers:
        await call.placement.refreshed()
    async with call.placement.recorded() as ledger:
        yield ledger, find(ledger, provider_id, before=before)


async def check_provider(call: Call) -> None:
    """Raises Refused (404) unless the provider in the path is there."""
    if call.params["uuid"] not in call.placement.state.providers:
        find(await call.placement.refreshed(), call.params["uuid"])
