"""Allocation candidates."""

import logging
from collections.abc import Container, Iterable
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from msgspec.structs import replace

from adapters.rest.placement import schemas
from adapters.rest.placement.operation import Call, Operations, Reply
from adapters.rest.placement.query import candidate_request
from domain.placement.candidates import Candidate, Request, explain, search
from domain.placement.ledger import Ledger, Provider

log = logging.getLogger(__name__)

operations = Operations()

TRAITS_FROM, ALL_CLASSES_FROM, TREE_FROM = 17, 27, 29
"""The microversions that made the summaries grow."""


@operations("GET", "/allocation_candidates", "placement:allocation_candidates:list", first=10)
async def list_candidates(call: Call) -> Reply:
    """The ways to meet a request, and what is known of the trees that they use."""
    schemas.CANDIDATES(call.minor).query(call.query)
    request = _bounded(candidate_request(call), call.placement.max_candidates)
    ledger = call.placement.state
    found = search(ledger, request)
    if not found and log.isEnabledFor(logging.DEBUG):
        for suffix, why in explain(ledger, request).items():
            log.debug("no candidates for group %r: %s", suffix, why)
    return Reply(
        {
            "allocation_requests": [_allocation_request(candidate, call.minor) for candidate in found],
            "provider_summaries": _summaries(ledger, request, found, call.minor),
        }
    )


def _bounded(request: Request, maximum: int | None) -> Request:
    """The request, with the operator's limit where that is the lower one."""
    if maximum is None or (request.limit is not None and request.limit <= maximum):
        return request
    return replace(request, limit=maximum)


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
    shown: Iterable[Provider]
    if ledger.nested and request.nested:
        roots = dict.fromkeys(ledger.providers[provider_id].root_id for provider_id in used)
        shown = (member for root_id in roots for member in ledger.tree(root_id))
    else:
        shown = (ledger.providers[provider_id] for provider_id in used)
    if minor >= ALL_CLASSES_FROM:
        summary = _WITH_TREE if minor >= TREE_FROM else _WITHOUT_TREE
        return {provider.id: summary(provider) for provider in shown}
    classes = {name for group in request.groups.values() for name in group.resources}
    return {provider.id: _summary(provider, classes, minor) for provider in shown}


def _summary(provider: Provider, classes: Container[str], minor: int) -> dict[str, Any]:
    document: dict[str, Any] = {
        "resources": {
            name: {"capacity": inventory.capacity, "used": provider.used.get(name, 0)}
            for name, inventory in provider.inventories.items()
            if name in classes
        }
    }
    if minor >= TRAITS_FROM:
        document["traits"] = provider.traits
    if minor >= TREE_FROM:
        document["parent_provider_uuid"] = provider.parent_id
        document["root_provider_uuid"] = provider.root_id
    return document


class _Summaries:
    """Whole summaries, encoded once for as long as their provider does not change: most do not, between two searches
    over thousands of them."""

    def __init__(self, minor: int) -> None:
        self._minor = minor
        self._known: WeakKeyDictionary[Provider, tuple[int, msgspec.Raw]] = WeakKeyDictionary()
        self._encode = msgspec.json.Encoder().encode

    def __call__(self, provider: Provider) -> msgspec.Raw:
        known = self._known.get(provider)
        if known is None or known[0] != provider.touched:
            raw = msgspec.Raw(self._encode(_summary(provider, provider.inventories, self._minor)))
            known = self._known[provider] = provider.touched, raw
        return known[1]


_WITHOUT_TREE, _WITH_TREE = _Summaries(ALL_CLASSES_FROM), _Summaries(TREE_FROM)
