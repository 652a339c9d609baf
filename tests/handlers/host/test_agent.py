"""Commands that come late: a host asks before it does what may not be wanted any more."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from uuid import uuid4

import pytest
from msgspec.structs import replace

from adapters.memory.broker import Broker
from adapters.memory.commands import MemoryCommandBus, MemoryDelivery
from adapters.memory.signs import MemoryLiveness
from adapters.simulated import SimulatedHypervisor
from adapters.system import SystemClock, SystemIds
from domain.errors import HostFailed, Unavailable
from domain.guest import GuestState, PowerState
from domain.server.moves.orders import Orders
from handlers.context import Stamp
from handlers.host import agent, gate
from handlers.host.agent import Agent
from handlers.messages import (
    Answer,
    AnyReport,
    Enrolment,
    Failure,
    HostCommand,
    Observation,
    Outcome,
    StillWanted,
    encode,
    read_report,
)
from tests.aio import asynchronous
from tests.real_libvirt import guest_spec
from tests.waiting import until

HOST = "node1"
SPEC = guest_spec(None)
CLOCK = SystemClock()
HOUR = timedelta(hours=1)


class Cell:
    """A host with its agent, and a conductor that wants nothing any more."""

    def __init__(self) -> None:
        broker = Broker(CLOCK)
        self.bus = MemoryCommandBus(broker, "cell1")
        self.hypervisor = SimulatedHypervisor(HOST, CLOCK, Random(1))
        liveness = MemoryLiveness(broker, "cell1")
        self.agent = Agent(
            {HOST: self.hypervisor}, {HOST: str(uuid4())}, self.bus, liveness, Stamp(CLOCK, SystemIds())
        )
        self.reports: list[AnyReport] = []
        self.wanted = False
        self.remove: tuple[GuestState, ...] = ()
        self.give: tuple[GuestState, ...] = ()
        self.fenced = False

    async def answer(self, _host: str, body: bytes) -> bytes:
        report = read_report(body)
        self.reports.append(report)
        wanted = self.wanted or not isinstance(report, StillWanted)
        return encode(Answer(wanted=wanted, remove=self.remove, give=self.give, fenced=self.fenced))

    def reported(self, kind: type[AnyReport]) -> int:
        return sum(isinstance(report, kind) for report in self.reports)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(self.agent.run()), group.create_task(self.bus.serve_reports(self.answer))]
            yield
            for task in work:
                task.cancel()

    async def carried_out(self, command: HostCommand) -> bool:
        """Whether the command is carried out, and not asked about first."""
        await self.bus.send(HOST, str(uuid4()), encode(command))

        def settled() -> list[AnyReport]:
            return [report for report in self.reports if isinstance(report, StillWanted | Outcome)]

        async with asyncio.TaskGroup() as group:
            work = [group.create_task(self.agent.run()), group.create_task(self.bus.serve_reports(self.answer))]
            await until(settled)
            for task in work:
                task.cancel()
        return isinstance(settled()[0], Outcome)


def command(kind: str, **changes: object) -> HostCommand:
    usual = HostCommand(
        host=HOST, kind=kind, server_id=SPEC.server_id, epoch=1, version=5, request_id=f"req-{uuid4()}", spec=SPEC,
        deadline=CLOCK.now() + HOUR,
    )  # fmt: skip
    return replace(usual, **changes)


def cases() -> Iterator[tuple[HostCommand, bool]]:
    late = CLOCK.now() - HOUR
    yield command("reboot_hard"), True
    yield command("reboot_hard", deadline=None), True
    yield command("reboot_hard", deadline=late), False
    yield command("reboot_hard", repeated=True), False
    # It would take a disk away.
    yield command("rebuild", spec=replace(SPEC, generation=1)), False


@pytest.mark.parametrize(("given", "carried_out"), list(cases()))
@asynchronous
async def test_whether_a_command_is_asked_about_first(given: HostCommand, carried_out: bool) -> None:
    cell = Cell()
    await cell.hypervisor.build(SPEC)
    boots = await cell.hypervisor.console_log(SPEC.server_id, None)
    assert await cell.carried_out(given) is carried_out
    assert (await cell.hypervisor.console_log(SPEC.server_id, None) != boots) is carried_out
    assert [guest.power_state for guest in await cell.hypervisor.guests()] == [PowerState.RUNNING]


@asynchronous
async def test_what_must_not_be_here_ends_before_a_command_is_taken() -> None:
    """Its queue has filled while it was away."""
    cell = Cell()
    await cell.hypervisor.build(SPEC)
    cell.remove = (GuestState(server_id=SPEC.server_id, epoch=1, power_state=PowerState.RUNNING),)
    await cell.bus.send(HOST, "1", encode(command("reboot_hard")))
    async with cell.working():
        await until(lambda: cell.reported(Failure))
    assert [type(report) for report in cell.reports] == [Enrolment, Observation, Failure]
    assert await cell.hypervisor.guests() == []


@asynchronous
async def test_a_guest_that_is_made_anew_elsewhere_is_powered_off_and_keeps_its_disk() -> None:
    cell = Cell()
    await cell.hypervisor.build(SPEC)
    cell.give = (GuestState(server_id=SPEC.server_id, epoch=1, power_state=PowerState.RUNNING),)
    async with cell.working():
        await cell.agent.enrolled()
    assert await cell.hypervisor.guests() == []
    assert cell.hypervisor.given(SPEC.server_id)


@asynchronous
async def test_a_fenced_host_carries_out_nothing_until_it_is_let_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "FENCED_SECONDS", 0.01)
    cell = Cell()
    await cell.hypervisor.build(SPEC)
    other = str(uuid4())
    await cell.hypervisor.build(replace(SPEC, server_id=other))
    cell.fenced, cell.wanted = True, True
    cell.remove = (GuestState(server_id=other, epoch=1, power_state=PowerState.RUNNING),)
    await cell.bus.send(HOST, "1", encode(command("stop")))
    async with cell.working():
        await until(lambda: cell.reported(Enrolment) > 2)
        # What must not be there ends all the same.
        assert [guest.server_id for guest in await cell.hypervisor.guests()] == [SPEC.server_id]
        assert not cell.reported(Outcome)
        cell.fenced = False
        await until(lambda: cell.reported(Outcome))
    assert cell.reported(StillWanted)


@asynchronous
async def test_what_a_host_did_when_it_was_fenced_is_told_again_when_it_is_let_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for pause in ("FENCED_SECONDS", "OBSERVE_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(agent, pause, 0.01)
    cell = Cell()
    await cell.hypervisor.build(SPEC)
    async with cell.working():
        await cell.agent.enrolled()
        cell.fenced = True
        await cell.bus.send(HOST, "1", encode(command("reboot_hard")))
        await until(lambda: cell.reported(Outcome) and cell.reported(Enrolment) > 1)
        boots = await cell.hypervisor.console_log(SPEC.server_id, None)
        cell.fenced = False
        await until(lambda: cell.reported(Outcome) > 1)
    assert await cell.hypervisor.console_log(SPEC.server_id, None) == boots


@asynchronous
async def test_who_was_not_answered_for_long_asks_before_he_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "SILENCE", timedelta(0))
    cell = Cell()
    await cell.hypervisor.build(SPEC)
    assert not await cell.carried_out(command("reboot_hard"))


@asynchronous
async def test_what_is_removed_is_that_assignment_only() -> None:
    """A command from before the server came back to this host: it is in another assignment now."""
    cell = Cell()
    now_here = replace(SPEC, epoch=3)
    await cell.hypervisor.build(now_here)
    for epoch, left in ((2, [3]), (3, [])):
        cell.reports.clear()
        cell.remove = (GuestState(server_id=SPEC.server_id, epoch=epoch, power_state=PowerState.NOSTATE),)
        assert not await cell.carried_out(command("start", epoch=epoch, repeated=True))
        assert [guest.epoch for guest in await cell.hypervisor.guests()] == left


@asynchronous
async def test_a_command_that_does_not_say_what_the_guest_shall_be_fails() -> None:
    cell = Cell()
    await cell.hypervisor.build(SPEC)
    await cell.bus.send(HOST, "1", encode(command("start", spec=None)))
    async with asyncio.TaskGroup() as group:
        work = [group.create_task(cell.agent.run()), group.create_task(cell.bus.serve_reports(cell.answer))]
        await until(lambda: any(getattr(report, "message", None) for report in cell.reports))
        for task in work:
            task.cancel()


@asynchronous
async def test_a_command_for_a_host_that_is_not_played_now_harms_no_other() -> None:
    """Simulated hosts have one queue, and may have been more."""
    cell = Cell()
    await cell.hypervisor.build(SPEC)
    await cell.bus.send(HOST, "1", encode(command("reboot_hard", host="gone")))
    assert await cell.carried_out(command("reboot_hard", version=6))
    assert not [report for report in cell.reports if isinstance(report, Failure)]


@asynchronous
async def test_whatever_one_command_meets_the_next_is_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell()
    await cell.hypervisor.build(SPEC)

    async def broken(*_: object) -> None:
        raise OSError(5, "Input/output error\0")

    monkeypatch.setattr(cell.hypervisor, "stop", broken)
    await cell.bus.send(HOST, "1", encode(command("stop")))
    await cell.bus.send(HOST, "2", encode(command("reboot_hard", version=6)))
    async with asyncio.TaskGroup() as group:
        work = [group.create_task(cell.agent.run()), group.create_task(cell.bus.serve_reports(cell.answer))]
        await until(lambda: any(isinstance(report, Outcome) for report in cell.reports))
        for task in work:
            task.cancel()
    (failure,) = [report for report in cell.reports if isinstance(report, Failure)]
    assert failure.message == "The host failed unexpectedly."
    assert "Input/output error\N{REPLACEMENT CHARACTER}" in failure.details


@asynchronous
async def test_a_sick_host_goes_on_with_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its list of guests, nor their changes, nor a command of a version to come ends the agent."""
    cell = Cell()
    await cell.hypervisor.build(SPEC)
    asked: set[str] = set()

    def broken(name: str) -> None:
        async def fail(*_: object) -> None:
            asked.add(name)
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(cell.hypervisor, name, fail)

    async def watch() -> AsyncIterator[None]:
        asked.add("watch")
        raise OSError(5, "Input/output error")
        yield

    broken("discard")
    monkeypatch.setattr(cell.hypervisor, "watch", watch)
    cell.remove = (GuestState(server_id=SPEC.server_id, epoch=1, power_state=PowerState.RUNNING),)
    await cell.bus.send(HOST, "1", b'{"kind": 7}')
    async with asyncio.TaskGroup() as group:
        work = [group.create_task(cell.agent.run()), group.create_task(cell.bus.serve_reports(cell.answer))]
        await cell.agent.enrolled()
        broken("guests")
        await cell.bus.send(HOST, "2", encode(command("reboot_hard")))
        await until(lambda: asked == {"guests", "watch", "discard"})
        await until(lambda: any(isinstance(report, Outcome) for report in cell.reports))
        assert not any(task.done() for task in work)
        for task in work:
            task.cancel()


@asynchronous
async def test_a_host_that_cannot_tell_what_it_has_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of it may have to end first."""
    cell = Cell()
    monkeypatch.setattr(agent, "RETRY_SECONDS", 0.001)
    asked = 0

    async def fail() -> None:
        nonlocal asked
        asked += 1
        raise HostFailed("No answer.")

    monkeypatch.setattr(cell.hypervisor, "guests", fail)
    await cell.bus.send(HOST, "1", encode(command("build")))
    async with cell.working():
        await until(lambda: asked > 3)
    assert [type(report) for report in cell.reports] == [Enrolment]


def test_what_cannot_be_done_is_tried_less_and_less_often() -> None:
    pauses = [agent._pause(attempt) for attempt in range(1, 2_000)]
    assert pauses == sorted(pauses)
    assert pauses[0] == agent.RETRY_SECONDS
    assert pauses[-1] == agent.MAX_RETRY_SECONDS


@asynchronous
async def test_what_can_never_be_removed_does_not_stay_in_the_queue_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(agent, "DESTROY_ATTEMPTS", 4)
    tried, finished = 0, False

    async def done(_delivery: MemoryDelivery) -> None:
        nonlocal finished
        finished = True

    async def destroy(_server_id: str) -> None:
        nonlocal tried
        tried += 1
        raise HostFailed("It cannot be removed.")

    cell = Cell()
    cell.wanted = True
    await cell.hypervisor.build(SPEC)
    monkeypatch.setattr(cell.hypervisor, "destroy", destroy)
    monkeypatch.setattr(MemoryDelivery, "done", done)
    await cell.bus.send(HOST, "1", encode(command("destroy")))
    async with asyncio.TaskGroup() as group:
        work = [group.create_task(cell.agent.run()), group.create_task(cell.bus.serve_reports(cell.answer))]
        await until(lambda: finished)
        for task in work:
            task.cancel()
    assert tried == 4


@pytest.mark.parametrize(("newer", "cut_short"), [(1, True), (0, False)])
@asynchronous
async def test_a_guest_that_shall_go_waits_for_no_copy_of_it(newer: int, cut_short: bool) -> None:
    cell = Cell()
    cell.wanted = True
    await cell.hypervisor.build(SPEC)
    cell.hypervisor.behaviour["snapshot"].delay = (HOUR.total_seconds(), HOUR.total_seconds())
    copy = command("snapshot", image_id=str(uuid4()))
    async with cell.working():
        await cell.bus.send(HOST, "1", encode(copy))
        await until(lambda: cell.agent._copying)
        await cell.bus.send(HOST, "2", encode(command("destroy", version=copy.version + newer)))
        if cut_short:
            await until(lambda: cell.reported(Outcome))
            assert not cell.agent._copying
        else:
            await until(lambda: len(cell.agent._in_hand) == 1 and cell.agent._in_hand[HOST, SPEC.server_id] == 2)
            assert cell.agent._copying
    assert bool(await cell.hypervisor.guests()) is not cut_short


@asynchronous
async def test_what_is_no_more_wanted_keeps_its_place_in_the_queue_until_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only a disk is here: nobody would ever see that it was left."""
    monkeypatch.setattr(agent, "RETRY_SECONDS", 0.001)
    cell = Cell()
    await cell.hypervisor.build(SPEC)
    await cell.hypervisor.give(SPEC.server_id, 0.0)
    cell.hypervisor.behaviour["discard"].fail_next = 2
    await cell.bus.send(HOST, "1", encode(command("rebuild")))
    async with cell.working():
        await cell.agent.enrolled()
        cell.remove = (GuestState(server_id=SPEC.server_id, epoch=1, power_state=PowerState.NOSTATE),)
        await until(lambda: not cell.hypervisor.given(SPEC.server_id))


@asynchronous
async def test_a_fenced_host_goes_on_with_what_it_is_doing_by_what_was_said_last() -> None:
    cell = Cell()
    cell.fenced = True
    serving = asyncio.create_task(cell.bus.serve_reports(cell.answer))
    guidance = cell.agent._guidance(command("leave"))
    with pytest.raises(Unavailable, match="declared dead"):
        await guidance._ask()
    assert guidance() == Orders()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
