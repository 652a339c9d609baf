"""Allocation candidates."""

from typing import Any

from adapters.rest.placement import schemas
from adapters.rest.placement.operation import Call, Operations, Reply
from adapters.rest.placement.query import candidate_request
from domain.candidates import Candidate, Request, search
from domain.ledger import Ledger, Provider

operations = Operations()


@operations("GET", "/allocation_candidates", "placement:allocation_candidates:list", first=10)
async def list_candidates(call: Call) -> Reply:
    """The ways to meet a request, and what is known of the trees that they use."""
    schemas.CANDIDATES(call.minor).query(call.query)
    request = candidate_request(call)
    ledger = call.placement.state
    found = search(ledger, request)
    return Reply(
        {
            "allocation_requests": [_allocation_request(candidate, call.minor) for candidate in found],
            "provider_summaries": _summaries(ledger, request, found, call.minor),
        }
    )


def _allocation_request(candidate: Candidate, minor: int) -> dict[str, Any]:
    if minor < 12:
        listed = [
            {"resource_provider": {"uuid": provider_id}, "resources": amounts}
            for provider_id, amounts in candidate.allocations.items()
        ]
        return {"allocations": listed}
    shown: dict[str, Any] = {
        "allocations": {provider_id: {"resources": amounts} for provider_id, amounts in candidate.allocations.items()}
    }
    if minor >= 34:
        shown["mappings"] = candidate.mappings
    return shown


def _summaries(ledger: Ledger, request: Request, found: list[Candidate], minor: int) -> dict[str, Any]:
    used = dict.fromkeys(provider_id for candidate in found for provider_id in candidate.allocations)
    shown: dict[str, Provider] = {}
    if ledger.nested and request.nested:
        for root_id in dict.fromkeys(ledger.providers[provider_id].root_id for provider_id in used):
            shown |= {member.id: member for member in ledger.tree(root_id)}
    else:
        shown = {provider_id: ledger.providers[provider_id] for provider_id in used}
    classes = {name for group in request.groups.values() for name in group.resources}
    return {provider_id: _summary(provider, classes, minor) for provider_id, provider in shown.items()}


def _summary(provider: Provider, classes: set[str], minor: int) -> dict[str, Any]:
    document: dict[str, Any] = {
        "resources": {
            name: {"capacity": inventory.capacity, "used": provider.used.get(name, 0)}
            for name, inventory in provider.inventories.items()
            if minor >= 27 or name in classes
        }
    }
    if minor >= 17:
        document["traits"] = provider.traits
    if minor >= 29:
        document["parent_provider_uuid"] = provider.parent_id
        document["root_provider_uuid"] = provider.root_id
    return document
