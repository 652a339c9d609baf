"""What may be changed of a server beside its guest, in which state and by whom."""

from collections.abc import Callable

import msgspec
import pytest

from domain.errors import Refused
from domain.log.record import Event
from domain.server import details, limits
from domain.server.deletion import ServerDeleted
from domain.server.fold import evolve
from domain.server.state import Server
from tests.domain.server.servers import given, meta

OWNER, ADMIN = "p", "the-administrators"
Ask = Callable[[Server], Event | None]

IN_SETTLED_STATES: dict[str, Ask] = {
    "set metadata": lambda server: details.set_metadata(server, {"a": "b"}, replace=False),
    "remove metadata": lambda server: details.remove_metadata(server, "a"),
    "set tags": lambda server: details.set_tags(server, ("new",)),
    "add tag": lambda server: details.add_tag(server, "new"),
    "remove tag": lambda server: details.remove_tag(server, "old"),
}
ALWAYS: dict[str, Ask] = {
    "rename": lambda server: details.rename(server, "other"),
    "describe": lambda server: details.describe(server, "other"),
    "set host name": lambda server: details.set_hostname(server, "other"),
    "lock": lambda server: details.lock(server, project_id=OWNER, reason=None),
}


def server(state: str = "active") -> Server:
    found = given(state)
    assert found
    return msgspec.structs.replace(found, metadata={"a": "1", "b": "2"}, tags=("old",))


def after(state: Server, *events: Event | None) -> Server:
    for event in events:
        assert event
        state = evolve(state, event, meta(9))
    return state


def locked_by(project_id: str) -> Server:
    present = server()
    return after(present, details.lock(present, project_id=project_id, reason="careful"))


@pytest.mark.parametrize("state", ["active", "stopped"])
@pytest.mark.parametrize("asked", [*IN_SETTLED_STATES, *ALWAYS])
def test_allowed(state: str, asked: str) -> None:
    assert (IN_SETTLED_STATES | ALWAYS)[asked](server(state)) is not None


@pytest.mark.parametrize("state", ["requested", "spawning", "failed", "rebooting", "rescued", "deleting"])
@pytest.mark.parametrize("asked", IN_SETTLED_STATES)
def test_only_while_nothing_is_under_way(state: str, asked: str) -> None:
    with pytest.raises(Refused, match="while it is in") as refusal:
        IN_SETTLED_STATES[asked](server(state))
    assert refusal.value.status == 409


def test_metadata() -> None:
    present = server()
    added = details.set_metadata(present, {"b": "3", "c": "4"}, replace=False)
    assert after(present, added).metadata == {"a": "1", "b": "3", "c": "4"}
    replaced = details.set_metadata(present, {"c": "4"}, replace=True)
    assert after(present, replaced).metadata == {"c": "4"}
    assert after(present, details.remove_metadata(present, "a")).metadata == {"b": "2"}
    assert details.set_metadata(present, {"a": "1"}, replace=False) is None
    with pytest.raises(Refused) as refusal:
        details.remove_metadata(present, "missing")
    assert refusal.value.status == 404


def test_there_is_an_end_to_metadata_and_tags() -> None:
    present = server()
    just = {str(number): "" for number in range(limits.MAX_METADATA)}
    assert details.set_metadata(present, just, replace=True)
    with pytest.raises(Refused) as refusal:
        details.set_metadata(present, just, replace=False)
    assert refusal.value.status == 403
    full = msgspec.structs.replace(present, tags=tuple(str(number) for number in range(limits.MAX_TAGS)))
    assert details.add_tag(full, "0") is None
    with pytest.raises(Refused) as refusal:
        details.add_tag(full, "one more")
    assert refusal.value.status == 400


def test_tags() -> None:
    present = server()
    assert after(present, details.add_tag(present, "new")).tags == ("old", "new")
    assert after(present, details.set_tags(present, ("x", "y", "x"))).tags == ("x", "y")
    assert after(present, details.remove_tag(present, "old")).tags == ()
    assert details.add_tag(present, "old") is None
    with pytest.raises(Refused) as refusal:
        details.remove_tag(present, "missing")
    assert refusal.value.status == 404


def test_names() -> None:
    present = server()
    for ask, name in (
        (details.rename, "name"),
        (details.describe, "description"),
        (details.set_hostname, "hostname"),
    ):
        changed = after(present, ask(present, "other"))  # type: ignore[operator]
        assert getattr(changed, name) == "other"
        assert ask(changed, "other") is None  # type: ignore[operator]


def test_access_addresses() -> None:
    present = server()
    one = after(present, details.set_access_addresses(present, {"access_ipv4": "192.0.2.1"}))
    both = after(one, details.set_access_addresses(one, {"access_ipv6": "2001:db8::1"}))
    assert (both.access_ipv4, both.access_ipv6) == ("192.0.2.1", "2001:db8::1")
    assert details.set_access_addresses(both, {"access_ipv4": "192.0.2.1"}) is None


def test_a_lock_holds_everybody_but_administrators() -> None:
    present = locked_by(OWNER)
    with pytest.raises(Refused, match="is locked") as refusal:
        details.check_lock(present, is_admin=False)
    assert refusal.value.status == 409
    details.check_lock(present, is_admin=True)
    details.check_lock(server(), is_admin=False)


@pytest.mark.parametrize(
    ("locker", "unlocker", "overrides", "allowed"),
    [
        (OWNER, OWNER, False, True),
        (ADMIN, OWNER, False, False),
        (ADMIN, ADMIN, True, True),
        (OWNER, ADMIN, True, True),
    ],
)
def test_who_may_unlock(locker: str, unlocker: str, *, overrides: bool, allowed: bool) -> None:
    present = locked_by(locker)
    if not allowed:
        with pytest.raises(Refused, match="by somebody else") as refusal:
            details.unlock(present, project_id=unlocker, overrides=overrides)
        assert (refusal.value.status, refusal.value.code) == (403, details.NOT_THE_LOCKER)
        return
    event = details.unlock(present, project_id=unlocker, overrides=overrides)
    assert after(present, event).lock is None


def test_an_administrators_lock_goes_over_an_owners_and_not_the_other_way_round() -> None:
    present = locked_by(OWNER)
    assert details.lock(present, project_id=OWNER, reason="again") is None
    taken = after(present, details.lock(present, project_id=ADMIN, reason="mine"))
    assert taken.lock
    assert (taken.lock.by_owner, taken.lock.reason) == (False, "mine")
    assert details.lock(taken, project_id=OWNER, reason="no, mine") is None
    assert details.unlock(server(), project_id=OWNER, overrides=False) is None


def test_a_deleted_server_is_not_locked() -> None:
    deleting = msgspec.structs.replace(given("deleting"), lock=locked_by(OWNER).lock)
    assert after(deleting, ServerDeleted()).lock is None
