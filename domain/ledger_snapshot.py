"""The ledger as bytes and back, so that a process need not read the whole log to know it."""

import msgspec

from domain.ledger import Claimed, InventoriesSet, Inventory, Ledger, ProviderCreated


class _Provider(msgspec.Struct, array_like=True):
    id: str
    name: str
    generation: int
    inventories: dict[str, Inventory]


class _Snapshot(msgspec.Struct):
    providers: list[_Provider]
    claims: list[Claimed]


_decoder = msgspec.json.Decoder(_Snapshot)


def dump(ledger: Ledger) -> bytes:
    """Everything in the ledger."""
    providers = [
        _Provider(provider.id, provider.name, provider.generation, provider.inventories)
        for provider in ledger.providers.values()
    ]
    return msgspec.json.encode(_Snapshot(providers, list(ledger.claims.values())))


def restore(body: bytes) -> Ledger:
    """The ledger that was dumped."""
    snapshot = _decoder.decode(body)
    ledger = Ledger()
    for provider in snapshot.providers:
        ledger.apply(ProviderCreated(provider_id=provider.id, name=provider.name))
        ledger.apply(InventoriesSet(provider_id=provider.id, inventories=provider.inventories))
    for claim in snapshot.claims:
        ledger.apply(claim)
    for provider in snapshot.providers:
        ledger.providers[provider.id].generation = provider.generation
    return ledger
