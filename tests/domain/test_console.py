"""Which grant opens what, until when."""

from datetime import datetime, timedelta

import msgspec
import pytest

from domain import console
from domain.console import PROXY_LOST, ConsoleClosed, ConsoleGrant, ConsoleOpened, ConsoleRefused, ConsoleRevoked
from domain.errors import Refused
from domain.log.record import Event
from domain.server.state import Server
from tests.domain.server.servers import NOW, given, meta

LIFE = timedelta(minutes=10)


def server(name: str = "active") -> Server:
    found = given(name)
    assert found
    return found


def held(*events: Event, single_use: bool = False, console_type: str = "novnc") -> ConsoleGrant:
    event: Event = console.grant(
        server(), console_type, user_id="u", project_id="p", now=NOW, life=LIFE, single_use=single_use
    )
    state: ConsoleGrant | None = None
    for each in (event, *events):
        state = console.evolve(state, each, meta())
    assert state
    return state


OPENED = ConsoleOpened(server_id="s", session_id="1", address="a")
REVOKED = ConsoleRevoked(server_id="s")


def code(held: ConsoleGrant | None, present: Server | None, now: datetime = NOW) -> str | None:
    try:
        console.check_opening(held, present, now)
    except Refused as refusal:
        return refusal.code
    return None


def test_what_opens() -> None:
    assert code(held(), server()) is None
    assert code(held(OPENED), server()) is None
    assert code(held(single_use=True), server()) is None
    assert code(held(), server("stopped")) is None


def test_what_does_not() -> None:
    replace = msgspec.structs.replace
    assert code(None, server()) == "console.unknown"
    assert code(held(), server(), NOW + LIFE) == "console.expired"
    assert code(held(REVOKED), server()) == "console.revoked"
    assert code(held(OPENED, single_use=True), server()) == "console.used"
    assert code(held(), None) == "console.server_gone"
    assert code(held(), server("rebuilding")) == "console.server_rebuilt"
    assert code(held(), server("deleting")) == "console.server_gone"
    assert code(held(), server("deleted")) == "console.server_gone"
    assert code(held(), replace(server(), epoch=2)) == "console.server_moved"
    assert code(held(), replace(server(), host=None)) == "console.server_moved"
    assert code(held(), replace(server(), launched_at=NOW + LIFE)) == "console.server_rebuilt"


def closed(session_id: str) -> ConsoleClosed:
    return ConsoleClosed(server_id="s", session_id=session_id, seconds=1.0, bytes_in=0, bytes_out=0)


def test_a_spice_session_has_many_channels_and_is_one() -> None:
    second = msgspec.structs.replace(OPENED, session_id="2")

    def spice(*events: Event) -> ConsoleGrant:
        return held(*events, single_use=True, console_type="spice-html5")

    assert not spice().joins
    assert not held(OPENED, console_type="spice-html5").joins
    for story in ((OPENED,), (OPENED, second), (OPENED, second, closed("2"))):
        assert spice(*story).joins
        assert code(spice(*story), server()) is None
    for over in ((OPENED, closed("1")), (OPENED, second, closed("1")), (OPENED, second, closed("1"), closed("2"))):
        assert code(spice(*over), server()) == "console.used"
    assert code(held(OPENED, single_use=True, console_type="serial"), server()) == "console.used"


@pytest.mark.parametrize("name", ["requested", "spawning", "failed", "deleted"])
def test_a_server_without_a_screen(name: str) -> None:
    with pytest.raises(Refused, match="is not ready") as refusal:
        console.grant(server(name), "novnc", user_id="u", project_id="p", now=NOW, life=LIFE, single_use=False)
    assert refusal.value.status == 409


def test_refusals_and_revocation_are_bounded() -> None:
    refused = ConsoleRefused(server_id="s", code="c", address="a")
    assert console.refuse(None, "c", "a") is None
    assert console.refuse(held(), "c", "a") is not None
    assert console.refuse(held(*[refused] * console.MAX_REFUSALS), "c", "a") is None
    assert console.revoke(held()) is not None
    assert console.revoke(held(REVOKED)) is None
    assert console.revoke(None) is None


def test_a_session_ends_once() -> None:
    second = msgspec.structs.replace(OPENED, session_id="2")
    both = held(OPENED, second)
    assert console.close(both, closed("1")) == closed("1")
    assert console.lose(both, "2", None) is not None
    one = held(OPENED, second, closed("1"))
    assert console.close(one, closed("2")) is not None
    for nothing in (console.close(one, closed("1")), console.lose(one, "1", NOW), console.close(one, closed("3"))):
        assert nothing is None
    assert console.close(None, closed("1")) is None
    assert console.lose(None, "1", NOW) is None


@pytest.mark.parametrize(("after", "seconds"), [(None, 0.0), (-3.0, 0.0), (4.5, 4.5)])
def test_how_long_a_session_of_a_lost_proxy_was(after: float | None, seconds: float) -> None:
    opened = held(OPENED)
    last_sign = None if after is None else opened.sessions["1"] + timedelta(seconds=after)
    assert console.lose(opened, "1", last_sign) == ConsoleClosed(
        server_id=opened.server_id, session_id="1", seconds=seconds, bytes_in=0, bytes_out=0, reason=PROXY_LOST
    )
