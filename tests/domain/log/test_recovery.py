"""Behind a hole of which the operator knows, a history goes on with what is left; elsewhere it must be whole."""

from typing import Any

import msgspec
import pytest

from domain.catalogue import keypair
from domain.catalogue.keypair import KeypairCreated, KeypairDeleted
from domain.log.kind import Kind, advance, fold
from domain.log.record import GENESIS, AggregateId, Event, Metadata, Recorded, Tail
from domain.placement import ledger
from domain.placement.ledger import Inventory, imbalances
from tests.replay.samples import TIME

META = Metadata(event_id="e", time=TIME, request_id="req-1")


def _recorded(event: Event, version: int, position: int, previous: str, bridges: int = 0) -> Recorded:
    return Recorded(
        cell="c",
        aggregate=AggregateId("sample", "a"),
        version=version,
        position=position,
        event=event,
        meta=META,
        digest=f"digest {version}",
        previous=previous,
        bridges=bridges,
    )


def _history(events: list[Event], lost: int | None, *, known: bool) -> list[Recorded]:
    """The events at positions 10, 20, …; one of them, by its index, is missing."""
    history = []
    for index, event in enumerate(events):
        version = index + 1
        position = version * 10
        bridges = (lost + 1) * 10 if known and lost is not None and index > lost else 0
        previous = f"digest {version - 1}" if index else GENESIS.digest
        if index != lost:
            history.append(_recorded(event, version, position, previous, bridges))
    return history


@pytest.mark.parametrize("known", [True, False])
def test_a_chain_may_jump_over_a_known_hole_and_nowhere_else(known: bool) -> None:
    created = KeypairCreated(name="n", key_type="ssh", public_key="k", fingerprint="f")
    first, third, fourth = _history([created] * 4, 1, known=known)
    assert first.follows(GENESIS)
    assert third.follows(first.tail) is known
    assert fourth.follows(third.tail)
    # The hole lies before both: it explains no gap between them.
    assert not fourth.follows(Tail(third.version - 1, third.position, "another"))
    assert not msgspec.structs.replace(fourth, version=third.version).follows(third.tail)


def _fold(kind: Kind[Any], events: list[Event], lost: int) -> Any:
    return fold(kind, _history(events, lost, known=True))


def test_what_presupposes_a_missing_event_is_passed_over() -> None:
    def created(name: str) -> KeypairCreated:
        return KeypairCreated(name=name, key_type="ssh", public_key="k", fingerprint="f")

    events = [created("one"), created("two"), KeypairDeleted(name="two"), created("three")]
    assert list(_fold(keypair.KIND, events, 1).by_name) == ["one", "three"]
    with pytest.raises(KeyError):
        fold(keypair.KIND, _history(events, 1, known=False))


def test_of_several_changes_those_are_made_that_can_be() -> None:
    stock = {"VCPU": Inventory(total=4)}
    claim = ledger.Claimed(consumer_id="s", epoch=1, project_id="p", user_id="u", allocations={"a": {"VCPU": 1}})
    lost_claim = msgspec.structs.replace(claim, consumer_id="t", allocations={"b": {"VCPU": 1}})
    events: list[Event] = [
        ledger.LedgerChanged(changes=(ledger.ProviderCreated(provider_id="a", name="a"),)),
        ledger.LedgerChanged(changes=(ledger.ProviderCreated(provider_id="b", name="b"),)),
        ledger.LedgerChanged(
            changes=(
                ledger.InventoriesSet(provider_id="b", inventories=stock),
                ledger.InventoriesSet(provider_id="a", inventories=stock),
                claim,
                lost_claim,
            )
        ),
        ledger.LedgerChanged(changes=(ledger.Released(consumer_id="t"),)),
    ]
    book = _fold(ledger.KIND, events, 1)
    assert list(book.claims) == ["s"]
    assert book.providers["a"].used == {"VCPU": 1}
    assert imbalances(book) == []


def test_a_history_without_its_beginning_is_nothing() -> None:
    created = KeypairCreated(name="n", key_type="ssh", public_key="k", fingerprint="f")
    foreign = ledger.LedgerChanged(changes=())
    assert advance(keypair.KIND, None, _recorded(foreign, 2, 20, "lost", bridges=10)) is None
    assert advance(keypair.KIND, None, _recorded(created, 2, 20, "lost", bridges=10))
