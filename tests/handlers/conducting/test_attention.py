"""Work costs what is due, the urgent go first, and nobody is forgotten."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from handlers.conducting import attention
from handlers.conducting.attention import LOOK_AGAIN_SECONDS, MAX_AT_ONCE, Attention
from handlers.conducting.fair_queue import FairQueue
from tests.sim.virtual_time import VirtualClock, run

steps = st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.booleans()), max_size=60)


@given(steps)
def test_each_waits_once_and_all_come_in_turn(changes: list[tuple[int, bool, bool]]) -> None:
    queue = FairQueue()
    urgent: list[str] = []
    waiting: list[str] = []
    for number, is_urgent, put in changes:
        item, owner = str(number), f"p{number % 3}"
        if put:
            queue.put(item, owner, urgent=is_urgent)
            if is_urgent and item not in urgent:
                urgent.append(item)
                waiting = [each for each in waiting if each != item]
            elif not is_urgent and item not in urgent and item not in waiting:
                waiting.append(item)
        else:
            taken = queue.take()
            if urgent:
                assert taken == urgent.pop(0)
            elif waiting:
                assert taken in waiting
                owner = f"p{int(taken) % 3}"
                assert next(each for each in waiting if f"p{int(each) % 3}" == owner) == taken
                waiting.remove(taken)
            else:
                assert taken is None
        assert len(queue) == len(urgent) + len(waiting)
        assert all(each in queue for each in urgent + waiting)


def test_a_large_owner_does_not_keep_a_small_one_waiting() -> None:
    queue = FairQueue()
    for number in range(1000):
        queue.put(f"large{number}", "large", urgent=False)
    queue.put("small", "small", urgent=False)
    assert "small" in (queue.take(), queue.take())


class Book:
    """Counts the looks at each server; each answers what is written for it, once."""

    def __init__(self) -> None:
        self.looks: Counter[str] = Counter()
        self.answers: dict[str, list[float | None]] = {}
        self.attention = Attention(self.advance, VirtualClock())

    async def advance(self, server_id: str) -> float | None:
        self.looks[server_id] += 1
        answers = self.answers.get(server_id)
        return answers.pop(0) if answers else 3600.0

    async def pass_time(self, seconds: float) -> None:
        running = asyncio.create_task(self.attention.run())
        await asyncio.sleep(seconds)
        running.cancel()


def test_what_waits_is_left_alone_until_it_is_due() -> None:
    async def story() -> None:
        book = Book()
        for number in range(5000):
            book.attention.open(str(number), "p")
        await book.pass_time(LOOK_AGAIN_SECONDS - 5)
        assert set(book.looks.values()) == {1}
        assert len(book.looks) == 5000
        await book.pass_time(10)
        assert set(book.looks.values()) == {2}

    run(story())


def test_who_is_due_sooner_is_looked_at_sooner_and_who_is_done_no_more() -> None:
    async def story() -> None:
        book = Book()
        book.answers["a"] = [5.0, 5.0, None]
        book.attention.open("a", "p")
        await book.pass_time(4)
        assert book.looks["a"] == 1
        await book.pass_time(3)
        assert book.looks["a"] == 2
        await book.pass_time(200)
        assert book.looks["a"] == 3
        assert len(book.attention) == 0

    run(story())


def test_a_bug_about_one_server_keeps_nobody_from_being_looked_at() -> None:
    async def story() -> None:
        book = Book()
        plain = book.advance

        async def failing(server_id: str) -> float | None:
            seconds = await plain(server_id)
            if server_id == "bad":
                raise KeyError(server_id)
            return seconds

        book.attention = Attention(failing, VirtualClock())
        for server_id in ("bad", "good"):
            book.attention.open(server_id, "p")
        await book.pass_time(LOOK_AGAIN_SECONDS * 3 - 1)
        assert book.looks["bad"] == book.looks["good"] == 3

    run(story())


def test_woken_while_busy_means_looked_at_again() -> None:
    async def story() -> None:
        book = Book()
        gate = asyncio.Event()
        plain = book.advance

        async def slow(server_id: str) -> float | None:
            seconds = await plain(server_id)
            await gate.wait()
            return seconds

        book.attention = Attention(slow, VirtualClock())
        book.answers["a"] = [None, None]
        book.attention.open("a", "p")
        await asyncio.sleep(0)
        book.attention.open("a", "p")
        gate.set()
        await book.pass_time(1)
        assert book.looks["a"] == 2
        assert len(book.attention) == 0

    run(story())


def test_so_many_at_once_and_the_urgent_first() -> None:
    async def story() -> None:
        order: list[str] = []
        gate = asyncio.Event()

        async def slow(server_id: str) -> float | None:
            order.append(server_id)
            await gate.wait()
            return None

        watched = Attention(slow, VirtualClock())
        for number in range(MAX_AT_ONCE + 10):
            watched.open(f"new{number}", "p")
        watched.open("asked", "p", urgent=True)
        await asyncio.sleep(0)
        assert len(order) == MAX_AT_ONCE
        gate.set()
        await asyncio.sleep(1)
        assert order[MAX_AT_ONCE] == "asked"
        assert len(order) == MAX_AT_ONCE + 11

    run(story())


def test_the_load_is_told() -> None:
    async def story() -> None:
        book = Book()
        for number in range(10):
            book.attention.open(f"a{number}", "large")
        book.attention.open("b", "small")
        book.attention.open("c")
        book.attention.open("c", "small")
        await book.pass_time(2)
        assert book.attention.load["open"] == 12
        assert book.attention.load["open_by_project"] == {"large": 10, "small": 2}
        for number in range(10):
            book.attention.close(f"a{number}")
        await book.pass_time(attention.TICK_SECONDS * 1.5)
        assert book.attention.load["open_by_project"] == {"small": 2}
        assert book.attention.load["rate"] == 10 * attention.SMOOTHING

    run(story())
