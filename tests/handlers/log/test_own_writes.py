"""Who asks waits for what he wrote, and for nothing else."""

import pytest

from handlers.log.own_writes import AHEAD, OwnWrites
from tests.aio import asynchronous

BLUE, RED = "blue", "red"


class Cloud:
    """A projection that is where it is told to be, and two owners."""

    def __init__(self) -> None:
        self.owner, self.admin = BLUE, False
        self.waited: list[tuple[str, int]] = []
        self.in_time = True
        self.writes = OwnWrites(self._reached, lambda: self.owner, lambda: self.admin)

    async def _reached(self, cell: str, position: int) -> bool:
        self.waited.append((cell, position))
        return self.in_time

    async def wrote(self, owner: str, position: int, cell: str = "cell1", *, about: str = "server") -> None:
        self.owner = owner
        await self.writes.wrote(cell, position, [about])

    async def asks(
        self, owner: str, *, admin: bool = False, about: tuple[str, ...] | None = None
    ) -> list[tuple[str, int]]:
        """What this question waits for."""
        self.owner, self.admin, self.waited = owner, admin, []
        if (unread := self.writes.unread(about)) is not None:
            await unread
        return self.waited


@asynchronous
async def test_an_answer_does_not_wait_while_the_projection_is_near() -> None:
    cloud = Cloud()
    await cloud.wrote(BLUE, AHEAD)
    assert cloud.waited == []


@asynchronous
async def test_an_answer_waits_where_the_projection_is_far_behind() -> None:
    cloud = Cloud()
    await cloud.wrote(BLUE, AHEAD + 5)
    assert cloud.waited == [("cell1", 5)]


@asynchronous
async def test_a_question_waits_for_the_newest_own_write_in_each_cell() -> None:
    cloud = Cloud()
    for position in (7, 9, 8):
        await cloud.wrote(BLUE, position)
    await cloud.wrote(BLUE, 3, "cell2")
    assert await cloud.asks(BLUE) == [("cell1", 9), ("cell2", 3)]


@asynchronous
async def test_what_was_read_once_is_not_waited_for_again() -> None:
    cloud = Cloud()
    await cloud.wrote(RED, 4)
    await cloud.wrote(RED, 6, "cell2")
    await cloud.wrote(BLUE, 5)
    await cloud.asks(BLUE)
    assert await cloud.asks(BLUE) == []
    assert await cloud.asks(RED) == [("cell2", 6)]


@asynchronous
async def test_a_question_that_could_not_wait_any_longer_leaves_the_next_one_waiting() -> None:
    cloud = Cloud()
    await cloud.wrote(BLUE, 5)
    cloud.in_time = False
    assert await cloud.asks(BLUE) == [("cell1", 5)]
    assert await cloud.asks(BLUE) == [("cell1", 5)]


@asynchronous
async def test_nobody_waits_for_the_writes_of_others_but_who_sees_them() -> None:
    cloud = Cloud()
    await cloud.wrote(BLUE, 5)
    assert await cloud.asks(RED) == []
    assert await cloud.asks(RED, admin=True) == [("cell1", 5)]


@asynchronous
async def test_a_question_about_one_server_waits_for_what_was_written_about_it_by_whomever() -> None:
    cloud = Cloud()
    await cloud.wrote(RED, 4, about="mine")
    await cloud.wrote(BLUE, 6, about="another")
    assert await cloud.asks(BLUE, about=("third",)) == []
    assert await cloud.asks(BLUE, admin=True, about=("mine",)) == [("cell1", 4)]
    assert await cloud.asks(BLUE, about=("another",)) == [("cell1", 6)]


@asynchronous
async def test_a_question_about_a_project_waits_for_what_was_written_in_it() -> None:
    cloud = Cloud()
    await cloud.wrote(RED, 4)
    await cloud.wrote(BLUE, 6)
    assert await cloud.asks(BLUE, admin=True, about=(RED,)) == [("cell1", 4)]


@pytest.mark.parametrize("in_time", [True, False])
@asynchronous
async def test_of_those_who_never_ask_not_much_is_remembered(in_time: bool) -> None:
    cloud = Cloud()
    cloud.in_time = in_time
    for number in range(10 * AHEAD):
        await cloud.wrote(f"project-{number}", number + 1, about=f"server-{number}")
    assert len(cloud.writes._of) <= 4 * AHEAD
    for question in (("server-0",), None):
        # Nothing is forgotten that is not readable.
        assert bool(await cloud.asks(BLUE, about=question)) is not in_time
    last = 10 * AHEAD
    assert (await cloud.asks(BLUE, about=(f"server-{last - 1}",)))[-1][1] == last
