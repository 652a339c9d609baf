"""Quota is exact."""

import pytest
from hypothesis import given, strategies

from domain.catalogue.quota import Limits, LimitsSet, Quota, Reserved, release, reserve
from domain.errors import Refused

LIMITS = Limits(instances=3, cores=4, ram_mb=4096)


def _reserve(quota: Quota, ids: list[str], *, at_least: int = 1, cores: int = 1, ram_mb: int = 1024) -> list[str]:
    changes = reserve(quota, LIMITS, ids, cell="c", at_least=at_least, cores=cores, ram_mb=ram_mb, request_id="req-1")
    for change in changes:
        quota.apply(change)
    return [change.server_id for change in changes]


@pytest.mark.parametrize(
    ("cores", "ram_mb", "fits"),
    [(1, 1024, 3), (2, 1024, 2), (1, 2048, 2), (4, 4096, 1), (1, 0, 3)],
)
def test_as_many_as_fit(cores: int, ram_mb: int, fits: int) -> None:
    assert len(_reserve(Quota(), list("abcdef"), cores=cores, ram_mb=ram_mb)) == fits


def test_fewer_than_asked_for_at_the_least_is_refused_in_novas_words() -> None:
    quota = Quota()
    _reserve(quota, ["a", "b"])
    with pytest.raises(Refused) as refusal:
        _reserve(quota, ["c", "d"], at_least=2)
    assert refusal.value.status == 403
    assert refusal.value.message == ("Quota exceeded for instances: Requested 2, but already used 2 of 3 instances")


def test_a_project_of_its_own_limits() -> None:
    quota = Quota()
    quota.apply(LimitsSet(limits=Limits(instances=-1, cores=-1, ram_mb=-1)))
    assert len(_reserve(quota, [str(number) for number in range(100)])) == 100
    quota.apply(LimitsSet(limits=None))
    with pytest.raises(Refused):
        _reserve(quota, ["x"])


@given(strategies.lists(strategies.tuples(strategies.integers(0, 5), strategies.booleans()), max_size=30))
def test_sums_are_those_of_the_reservations_and_undo_takes_back(steps: list[tuple[int, bool]]) -> None:
    quota = Quota()
    for number, reserved in steps:
        before = (dict(quota.reservations), quota.cores, quota.ram_mb)
        server_id = str(number)
        changes = (
            (Reserved(server_id=server_id, cell="c", cores=number, ram_mb=number * 10),)
            if reserved
            else release(quota, server_id, None)
        )
        undos = [quota.apply(change) for change in changes]
        for undo in reversed(undos):
            undo()
        assert (quota.reservations, quota.cores, quota.ram_mb) == before
        for change in changes:
            quota.apply(change)
        assert quota.cores == sum(held.cores for held in quota.reservations.values())
        assert quota.ram_mb == sum(held.ram_mb for held in quota.reservations.values())


def test_releasing_what_is_not_held_is_nothing() -> None:
    assert release(Quota(), "a", None) == ()
