"""No more is accepted than can be done, and each project has its share."""

from datetime import timedelta
from typing import Any

import pytest

from handlers.fleet.liveness import LifeSigns
from handlers.ports import Beat
from handlers.servers.admission import CROWDED, MIN_OPEN, OPEN_SECONDS, RETRY_AFTER, Admission, Busy
from tests.clocks import InstantClock


class Conductors:
    """What they say of themselves."""

    def __init__(self) -> None:
        self.clock = InstantClock()
        self.life = LifeSigns(None, self.clock)  # type: ignore[arg-type]
        self.beats = 0
        self.admission = Admission(self.life)

    def tell(self, name: str = "conductor/a", **facts: Any) -> None:
        self.beats += 1
        self.life._take(Beat(name, self.clock.now() + timedelta(seconds=self.beats), facts))

    def lets_in(self, project_id: str, count: int = 1) -> bool:
        try:
            self.admission.check(project_id, count)
        except Busy:
            return False
        self.admission.accepted(project_id, count)
        return True

    def fill(self, project_id: str) -> int:
        number = 0
        while self.lets_in(project_id, 100):
            number += 100
        return number


def test_before_anything_is_known_there_is_a_bound() -> None:
    assert Conductors().fill("p") == MIN_OPEN


def test_what_is_under_way_counts_and_what_is_done_makes_room() -> None:
    conductors = Conductors()
    conductors.tell(open=MIN_OPEN - 200, rate=1.0, open_by_project={"p": MIN_OPEN - 200})
    assert conductors.fill("p") == 200
    conductors.tell(open=0, rate=1.0, open_by_project={})
    assert conductors.fill("p") == MIN_OPEN


def test_who_is_fast_is_given_more() -> None:
    conductors = Conductors()
    conductors.tell(open=0, rate=1000.0, open_by_project={})
    assert conductors.fill("p") == 1000 * OPEN_SECONDS


def test_a_project_with_more_than_its_share_is_refused_first() -> None:
    conductors = Conductors()
    conductors.tell(open=MIN_OPEN, rate=0.0, open_by_project={"large": MIN_OPEN})
    assert not conductors.lets_in("large")
    conductors.tell(open=int(MIN_OPEN * 0.9), rate=0.0, open_by_project={"large": int(MIN_OPEN * 0.9)})
    assert conductors.lets_in("large")  # alone it may have all of it
    assert conductors.lets_in("small")
    assert not conductors.lets_in("large")
    assert conductors.lets_in("small")
    conductors.tell(
        open=int(MIN_OPEN * CROWDED) - 100,
        rate=0.0,
        open_by_project={"large": int(MIN_OPEN * CROWDED) - 101, "small": 1},
    )
    assert conductors.lets_in("large")


def test_what_was_refused_for_another_reason_keeps_nobody_out() -> None:
    conductors = Conductors()
    for _ in range(1000):
        conductors.admission.check("refused", 100)
    assert conductors.lets_in("other", 100)


def test_the_newest_word_counts_and_hosts_have_none() -> None:
    conductors = Conductors()
    conductors.tell("conductor/a", open=MIN_OPEN, rate=0.0)
    conductors.tell("conductor/b", open=0, rate=0.0)
    conductors.tell("compute/conductor", open=MIN_OPEN, rate=0.0)
    assert conductors.lets_in("p")


def test_nonsense_is_nothing() -> None:
    conductors = Conductors()
    conductors.tell(open="many", rate=None, open_by_project=[1])
    assert conductors.fill("p") == MIN_OPEN


def test_the_refusal_says_when_to_come_back() -> None:
    with pytest.raises(Busy) as refusal:
        Conductors().admission.check("p", MIN_OPEN + 1)
    assert (refusal.value.status, refusal.value.retry_after) == (503, RETRY_AFTER)
