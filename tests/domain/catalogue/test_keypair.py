"""The keys of one user."""

from datetime import UTC, datetime

import pytest

from domain.catalogue import keypair
from domain.catalogue.keypair import MAX_KEYPAIRS, Keypairs
from domain.errors import Refused
from domain.log.record import Event, Metadata

META = Metadata(event_id="e", time=datetime(2030, 1, 1, tzinfo=UTC), request_id="req-1")


def create(known: Keypairs | None, name: str) -> Event:
    return keypair.create(known, name=name, key_type="ssh", public_key="ssh-rsa A", fingerprint="00")


def keys(*names: str) -> Keypairs | None:
    known: Keypairs | None = None
    for name in names:
        known = keypair.evolve(known, create(known, name), META)
    return known


def test_a_key_is_kept_under_its_name_until_it_is_deleted() -> None:
    known = keys("a", "b")
    assert known
    assert (known.get("a").public_key, known.get("a").created_at) == ("ssh-rsa A", META.time)
    left = keypair.evolve(known, keypair.delete(known, "a"), META)
    assert set(left.by_name) == {"b"}


@pytest.mark.parametrize("known", [None, keys("a")])
def test_a_key_that_is_not_there_cannot_be_deleted(known: Keypairs | None) -> None:
    with pytest.raises(Refused) as refusal:
        keypair.delete(known, "b")
    assert refusal.value.status == 404


def test_a_name_is_used_once() -> None:
    with pytest.raises(Refused) as refusal:
        create(keys("a"), "a")
    assert refusal.value.status == 409


def test_there_is_an_end_to_keys() -> None:
    nearly = keys(*map(str, range(MAX_KEYPAIRS - 1)))
    full = keypair.evolve(nearly, create(nearly, "last"), META)
    with pytest.raises(Refused) as refusal:
        create(full, "more")
    assert refusal.value.status == 403
