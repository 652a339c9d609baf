"""Server groups: how many there may be, how many members they may have, and since when one is gone."""

from datetime import UTC, datetime

import pytest

from domain.catalogue import quota, server_group
from domain.catalogue.quota import Limits, Quota, Reserved
from domain.catalogue.server_group import ServerGroupCreated, ServerGroups
from domain.errors import Invalid, Refused
from domain.log.record import Event, Metadata

META = Metadata(event_id="1", time=datetime(2030, 1, 1, tzinfo=UTC), request_id="req-1")


def created(group_id: str, policy: str = "anti-affinity", max_per_host: int | None = None) -> ServerGroupCreated:
    return ServerGroupCreated(
        group_id=group_id, name="n", policy=policy, project_id="p", user_id="u", max_per_host=max_per_host
    )


def groups(*events: Event) -> ServerGroups | None:
    state = None
    for event in events:
        state = server_group.evolve(state, event, META)
    return state


def test_as_many_groups_as_the_project_may_have() -> None:
    two = groups(created("a"), created("b"))
    assert server_group.create(two, created("c"), 3)
    assert server_group.create(two, created("c"), -1)
    with pytest.raises(Refused, match="Quota exceeded, too many server groups") as refusal:
        server_group.create(two, created("c"), 2)
    assert refusal.value.status == 403


@pytest.mark.parametrize("policy", ["affinity", "soft-affinity", "soft-anti-affinity"])
def test_only_anti_affinity_has_rules(policy: str) -> None:
    assert server_group.create(None, created("a", max_per_host=2), 1)
    with pytest.raises(Invalid, match="Only anti-affinity policy supports rules"):
        server_group.create(None, created("a", policy, 2), 1)


def test_a_group_is_gone_only_for_who_has_heard_of_it() -> None:
    """A process that has not read of a group yet must not take it for one that was deleted."""
    before, there = groups(created("a")), groups(created("a"), created("b"))
    agreed = server_group.terms(there, "b")
    assert server_group.in_force(None, agreed)
    assert server_group.in_force(before, agreed)
    assert server_group.in_force(there, agreed)
    assert not server_group.in_force(groups(created("a"), created("b"), server_group.delete(there, "b")), agreed)


def test_what_is_not_there() -> None:
    for ask in (server_group.terms, server_group.delete):
        with pytest.raises(Refused, match="Instance group x could not be found") as refusal:
            ask(groups(created("a")), "x")
        assert refusal.value.status == 404


def _reserve(held: Quota, ids: list[str], at_least: int = 1, group_id: str | None = "g") -> list[str]:
    limits = Limits(instances=-1, cores=-1, ram_mb=-1, server_group_members=3)
    changes = quota.reserve(
        held, limits, ids, cell="c", at_least=at_least, cores=1, ram_mb=1, request_id=None, group_id=group_id
    )
    for change in changes:
        held.apply(change)
    return [change.server_id for change in changes]


def test_members_are_counted_until_they_are_deleted() -> None:
    held = Quota()
    assert _reserve(held, ["a", "b"]) == ["a", "b"]
    assert _reserve(held, ["x", "y", "z", "w"], group_id=None) == ["x", "y", "z", "w"]
    with pytest.raises(Refused, match="Quota exceeded, too many servers in group") as refusal:
        _reserve(held, ["c", "d"], at_least=2)
    assert refusal.value.status == 403
    assert _reserve(held, ["c", "d"]) == ["c"]
    assert list(held.members_of("g")) == ["a", "b", "c"]
    for change in quota.settle(held, "a", cores=5, ram_mb=5, request_id=None):
        held.apply(change)
    assert set(held.members_of("g")) == {"a", "b", "c"}, "another size is no other group"
    for server_id in ("a", "b", "c"):
        for released in quota.release(held, server_id, None):
            held.apply(released)
    assert (list(held.members_of("g")), held.members) == ([], {})


def test_what_is_taken_back_was_no_member() -> None:
    held = Quota()
    undo = held.apply(Reserved(server_id="a", cell="c", cores=1, ram_mb=1, group_id="g"))
    undo()
    assert (held.members, held.reservations) == ({}, {})
