"""What is wanted of a command that takes long."""

import asyncio

import pytest

from domain.errors import HostFailed, Unavailable
from domain.server.moves.orders import ABORT, Orders
from handlers.host.guidance import LOOK_SECONDS, Guidance, still_wanted
from handlers.messages import Answer, HostCommand
from tests.aio import asynchronous
from tests.clocks import InstantClock

FORCE = Orders(order="force_complete")


class Conductor:
    """Answers what it is told to; None is no answer."""

    def __init__(self, *answers: Answer | None) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.done = asyncio.Event()

    async def ask(self) -> Answer:
        self.asked += 1
        if not self._answers:
            self.done.set()
            await asyncio.get_running_loop().create_future()
        answer = self._answers.pop(0)
        if answer is None:
            raise Unavailable("nobody is there")
        return answer


async def followed(first: Orders | None, *answers: Answer | None) -> Guidance:
    """What is known when so much was answered."""
    clock, conductor = InstantClock(), Conductor(*answers)
    begun = clock.now()
    guidance = Guidance(first, conductor.ask, clock)
    following = asyncio.create_task(guidance.follow())
    await conductor.done.wait()
    following.cancel()
    assert (clock.now() - begun).total_seconds() == LOOK_SECONDS * (len(answers) + 1)
    return guidance


@asynchronous
async def test_the_newest_answer_holds_also_while_nobody_answers() -> None:
    first = Orders(policy="keep_trying")
    assert (await followed(first))() == first
    assert (await followed(None))() == Orders()
    assert (await followed(first, Answer(orders=FORCE), None, None))() == FORCE
    # A conductor that knows nothing of orders.
    assert (await followed(first, Answer()))() == first


@asynchronous
async def test_what_is_not_wanted_is_ended() -> None:
    assert (await followed(FORCE, Answer(wanted=False)))().order == ABORT


@asynchronous
async def test_work_goes_on_for_as_long_as_it_is_wanted() -> None:
    guidance = Guidance(None, Conductor().ask, InstantClock())
    assert await guidance.while_wanted(asyncio.sleep(0, "done")) == "done"
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    working = asyncio.create_task(guidance.while_wanted(work()))
    await asyncio.sleep(0)
    guidance.take(Answer(wanted=True))
    await asyncio.sleep(0)
    assert not working.done()
    guidance.take(Answer(wanted=False))
    with pytest.raises(HostFailed, match="not wanted"):
        await working
    assert ended.is_set()


def test_only_what_the_server_is_at_is_wanted_of_a_move_that_goes_on_alive() -> None:
    def asked(kind: str) -> str | None:
        command = HostCommand(host="h", kind=kind, server_id="s", epoch=1, version=1, request_id="r")
        return still_wanted(command).kind

    assert [asked(kind) for kind in ("leave", "prepare", "build")] == ["leave", "prepare", None]
