"""Who is taken for alive, whatever the clocks say."""

from datetime import timedelta
from unittest.mock import Mock

import pytest

from handlers.fleet import liveness
from handlers.fleet.liveness import DOWN_AFTER, LifeSigns
from handlers.ports import Beat
from tests.clocks import InstantClock

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1), -timedelta(hours=1)])
def test_no_two_clocks_are_compared(ahead: timedelta) -> None:
    clock = InstantClock()
    life = LifeSigns(Mock(), clock)

    def hear(name: str, age: timedelta = timedelta(0)) -> None:
        life._take(Beat(name, clock.now() + ahead - age, {}))

    # What the log remembers when a process begins to listen, the oldest first.
    hear("compute/gone", age=DOWN_AFTER + 10 * SECOND)
    hear("compute/node1")
    assert not life.host_up("gone")
    assert life.host_up("node1")
    assert not life.host_up("nobody")
    clock._now += DOWN_AFTER - SECOND
    assert life.host_up("node1")
    hear("compute/node2")
    clock._now += 2 * SECOND
    assert not life.host_up("node1")
    assert life.host_up("node2")


def test_a_sign_that_comes_once_more_is_no_news() -> None:
    clock = InstantClock()
    life = LifeSigns(Mock(), clock)
    old = Beat("compute/node1", clock.now(), {})
    life._take(old)
    clock._now += DOWN_AFTER
    life._take(old)
    assert not life.host_up("node1")


def test_senders_without_end_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "MAX_SENDERS", 10)
    clock = InstantClock()
    life = LifeSigns(Mock(), clock)
    for number in range(100):
        life._take(Beat(f"compute/{number}", clock.now(), {}))
    assert len(life.beats) == len(life._noticed) == 10
    assert life.host_up("99")
