"""Which positions a time means, and that it goes on meaning them."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import Invalid, Unavailable
from domain.log.moment import Moment
from domain.log.record import Recorded
from handlers.past.moments import Moments
from tests.aio import asynchronous

START = datetime(2030, 1, 1, tzinfo=UTC)


class Clock:
    def now(self) -> datetime:
        return START + timedelta(days=1)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


class Times:
    """A log of which only the times are known; None is a position whose event is missing."""

    cell = "cell1"

    def __init__(self, *seconds: float | None) -> None:
        self.seconds = list(seconds)

    async def last_position(self) -> int:
        return len(self.seconds)

    async def event_at(self, position: int) -> Recorded | None:
        second = self.seconds[position - 1]
        if second is None:
            return None
        time = START + timedelta(seconds=second)
        return type("Event", (), {"meta": type("Meta", (), {"time": time})})  # type: ignore[return-value]


async def position(log: Times, seconds: float) -> int:
    moments = Moments((log,), Clock())  # type: ignore[arg-type]
    return (await moments.find((START + timedelta(seconds=seconds)).isoformat()))["cell1"]


@pytest.mark.parametrize("length", range(18))
@asynchronous
async def test_everything_up_to_a_time_and_nothing_after_it(length: int):
    log = Times(*(float(number) for number in range(1, length + 1)))
    for number in range(length + 2):
        assert await position(log, number) == min(number, length)
        assert await position(log, number + 0.5) == min(number, length)


@asynchronous
async def test_events_of_one_moment_belong_together():
    log = Times(1.0, 2.0, 2.0, 2.0, 3.0)
    assert [await position(log, second) for second in (1, 2, 3)] == [1, 4, 5]


@asynchronous
async def test_missing_events_are_passed_over():
    log = Times(None, None, 3.0, None, None, 6.0, None)
    assert [await position(log, second) for second in (0, 3, 5, 6)] == [2, 5, 5, 7]


@asynchronous
async def test_a_time_means_the_same_however_far_the_log_has_got():
    log = Times(*(second + (0.7 if second % 3 else -0.7) for second in range(1, 40)))
    meant = {}
    for end in range(1, 40):
        grown = Times(*log.seconds[:end])
        for second in range(end - 2):
            assert await position(grown, second) == meant.setdefault(second, await position(grown, second))


@asynchronous
async def test_what_answers_must_have_read_so_far():
    asked = []

    async def reached(cell: str, position: int) -> bool:
        asked.append((cell, position))
        return len(asked) > 1

    moments = Moments((Times(1.0, 2.0),), Clock(), reached)  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await moments.find("now")
    assert await moments.find("now") == Moment.of({"cell1": 2})
    assert asked == [("cell1", 2)] * 2


NONSENSE = ("", "x", "cell1", "cell1=", "cell1=-1", "cell1=1,", "cell1=1;api=2", "CELL=1", "a=1 2")


@pytest.mark.parametrize("text", NONSENSE)
def test_what_is_no_moment(text: str):
    with pytest.raises(Invalid):
        Moment.parse(text)


def test_a_moment_is_read_as_it_is_written():
    moment = Moment.of({"cell1": 5, "api": 0})
    assert str(moment) == "api=0,cell1=5"
    assert Moment.parse(" cell1=5 , api=0") == moment
    assert (moment["cell1"], moment["other"], moment.cells) == (5, 0, ("api", "cell1"))


@pytest.mark.parametrize(
    "text", ["x" * 5000, "=" * 5000, f"{'c' * 5000}=1", "2999-01-01T00:00:00+00:00:00." + "1" * 5000]
)
@asynchronous
async def test_an_error_does_not_say_all_of_what_is_no_moment(text: str):
    with pytest.raises(Invalid) as refused:
        await Moments((Times(1.0),), Clock()).find(text)
    assert len(refused.value.message) < 250
