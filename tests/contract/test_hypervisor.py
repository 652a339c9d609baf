"""What every hypervisor promises."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from domain.errors import HostFailed
from domain.guest import GuestSpec, GuestState, PowerState
from handlers.messages import Peer
from tests.aio import asynchronous
from tests.contract.hypervisor import Host, LibvirtHost, SimulatedHost, cleared
from tests.waiting import until


@pytest.fixture(params=["simulated", pytest.param("libvirt", marks=pytest.mark.libvirt)])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """One contract, each place where it has to hold."""
    if request.param == "simulated":
        return SimulatedHost()
    request.getfixturevalue("libvirtd")
    return LibvirtHost(tmp_path)


def state(spec: GuestSpec, power_state: PowerState) -> GuestState:
    return GuestState(server_id=spec.server_id, epoch=spec.epoch, power_state=power_state)


@asynchronous
async def test_a_life(host: Host) -> None:
    async with cleared(host) as agent:
        spec, other = host.spec(), host.spec()
        running, off = state(spec, PowerState.RUNNING), state(spec, PowerState.SHUTDOWN)
        assert await agent.build(spec) == running
        assert await agent.build(spec) == running
        assert await agent.guests() == [running]
        await agent.build(other)
        assert await agent.start(spec) == running
        assert await agent.stop(spec.server_id, 0) == off
        assert await agent.stop(spec.server_id, 0) == off
        assert off in await agent.guests()
        assert await agent.reboot(spec, hard=True, timeout=0) == running
        assert await agent.reboot(spec, hard=False, timeout=0) == running
        assert await agent.stop(spec.server_id, 0) == off
        assert await agent.start(spec) == running
        assert isinstance(await agent.console_log(spec.server_id, 1), str)
        await agent.destroy(spec.server_id)
        await agent.destroy(spec.server_id)
        assert await agent.guests() == [state(other, PowerState.RUNNING)]


@asynchronous
async def test_a_guest_that_is_not_here(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        absent = spec.server_id
        for attempt in (
            agent.start(spec),
            agent.stop(absent, 0),
            agent.pause(absent),
            agent.suspend(absent),
            agent.inject_nmi(absent),
            agent.snapshot(absent, str(uuid4())),
            agent.upload(absent, str(uuid4())),
            agent.console(absent, "vnc"),
            agent.reboot(spec, hard=True, timeout=0),
            agent.console_log(absent, None),
        ):
            with pytest.raises(HostFailed):
                await attempt
        await agent.destroy(absent)


@asynchronous
async def test_a_pause(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        for hand in (agent, host.agent()):
            assert await hand.pause(spec.server_id) == state(spec, PowerState.PAUSED)
        assert await agent.guests() == [state(spec, PowerState.PAUSED)]
        assert await agent.start(spec) == state(spec, PowerState.RUNNING)
        await agent.stop(spec.server_id, 0)
        with pytest.raises(HostFailed):
            await agent.pause(spec.server_id)


@asynchronous
async def test_an_nmi(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        assert await agent.inject_nmi(spec.server_id) == state(spec, PowerState.RUNNING)
        await agent.pause(spec.server_id)
        assert await agent.inject_nmi(spec.server_id) == state(spec, PowerState.PAUSED)
        await agent.stop(spec.server_id, 0)
        with pytest.raises(HostFailed):
            await agent.inject_nmi(spec.server_id)


@asynchronous
async def test_a_suspension(host: Host) -> None:
    async with cleared(host) as agent:
        spec, other = host.spec(), host.spec()
        for each in (spec, other):
            await agent.build(each)
            for hand in (agent, host.agent()):
                assert await hand.suspend(each.server_id) == state(each, PowerState.SHUTDOWN)
        assert await agent.start(spec) == state(spec, PowerState.RUNNING)
        assert await agent.reboot(other, hard=True, timeout=0) == state(other, PowerState.RUNNING)
        await agent.stop(spec.server_id, 0)
        with pytest.raises(HostFailed):
            await agent.suspend(spec.server_id)


@asynchronous
async def test_a_rebuild(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        again = host.rebuilt_spec(spec)
        assert await agent.build(again) == state(spec, PowerState.RUNNING)
        assert await host.agent().build(again) == state(spec, PowerState.RUNNING)
        # One that was off is off afterwards, until it is started.
        await agent.stop(spec.server_id, 0)
        off = msgspec.structs.replace(host.rebuilt_spec(again), powered_on=False)
        assert await agent.build(off) == state(spec, PowerState.SHUTDOWN)
        assert await agent.guests() == [state(spec, PowerState.SHUTDOWN)]
        assert await agent.start(off) == state(spec, PowerState.RUNNING)


@asynchronous
async def test_a_rebuild_for_which_something_is_missing_leaves_the_guest_as_it_was(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        with pytest.raises(HostFailed):
            await agent.build(host.without_its_image(host.rebuilt_spec(spec)))
        assert await agent.guests() == [state(spec, PowerState.RUNNING)]
        assert await agent.reboot(spec, hard=True, timeout=0) == state(spec, PowerState.RUNNING)
        assert await agent.build(host.rebuilt_spec(spec)) == state(spec, PowerState.RUNNING)


@asynchronous
async def test_a_rescue(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        await agent.stop(spec.server_id, 0)
        rescue = host.rescue_spec(spec)
        for hand in (agent, host.agent()):
            assert await hand.reboot(rescue, hard=False, timeout=0) == state(spec, PowerState.RUNNING)
        assert await agent.reboot(spec, hard=True, timeout=0) == state(spec, PowerState.RUNNING)


@asynchronous
async def test_a_newer_assignment_replaces_and_an_older_one_is_refused(host: Host) -> None:
    async with cleared(host) as agent:
        first = host.spec()
        second = msgspec.structs.replace(first, epoch=2)
        await agent.build(first)
        assert await agent.build(second) == state(second, PowerState.RUNNING)
        with pytest.raises(HostFailed, match="void"):
            await agent.build(first)
        assert await agent.guests() == [state(second, PowerState.RUNNING)]


@asynchronous
async def test_a_failed_build_leaves_nothing(host: Host) -> None:
    async with cleared(host) as agent:
        with pytest.raises(HostFailed) as failure:
            await agent.build(host.broken_spec())
        assert failure.value.details
        assert "/" not in failure.value.message
        assert await agent.guests() == []
        assert host.left() == set()


@asynchronous
async def test_an_interrupted_build_is_completed_or_removed_by_the_next_agent(host: Host) -> None:
    async with cleared(host) as agent:
        for turns in (1, 2, 3, 5, 8, 40):
            spec, unwanted = host.spec(), host.spec()
            for each in (spec, unwanted):
                build = asyncio.create_task(agent.build(each))
                for _ in range(turns):
                    await asyncio.sleep(0)
                build.cancel()
                await asyncio.wait([build])
            agent = host.agent()
            assert await agent.build(spec) == state(spec, PowerState.RUNNING)
            await agent.destroy(unwanted.server_id)
            assert await agent.guests() == [state(spec, PowerState.RUNNING)]
            await agent.destroy(spec.server_id)
            assert host.left() == set()


@asynchronous
async def test_the_next_agent_goes_on(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        successor = host.agent()
        assert await successor.guests() == [state(spec, PowerState.RUNNING)]
        assert await successor.build(spec) == state(spec, PowerState.RUNNING)
        assert await successor.stop(spec.server_id, 0) == state(spec, PowerState.SHUTDOWN)
        assert await successor.start(spec) == state(spec, PowerState.RUNNING)


@asynchronous
async def test_only_what_nobody_asked_for_is_news(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        news: list[GuestState] = []

        async def listen() -> None:
            async with aclosing(agent.watch()) as events:
                async for event in events:
                    news.append(event.state)  # noqa: PERF401 (seen while it goes on)

        await agent.build(spec)
        listening = asyncio.create_task(listen())
        await agent.stop(spec.server_id, 0)
        await agent.start(spec)
        await agent.reboot(spec, hard=True, timeout=0)
        for _ in range(2):
            host.power_off_from_within(spec)
            await until(lambda: news and news[-1].power_state is PowerState.SHUTDOWN)
            assert news == [state(spec, PowerState.SHUTDOWN)]
            news.clear()
            await agent.start(spec)
        await agent.destroy(spec.server_id)
        assert news == []
        listening.cancel()
        await asyncio.wait([listening])


@asynchronous
async def test_news_of_one_guest_does_not_wait_for_another(host: Host) -> None:
    async with cleared(host) as agent:
        slow, other = host.spec(), host.spec()
        for spec in (slow, other):
            await agent.build(spec)
        # There is nobody in the guest to hear the power button.
        stopping = asyncio.create_task(agent.stop(slow.server_id, 3600))
        try:
            async with aclosing(agent.watch()) as events:
                first = asyncio.ensure_future(anext(events))
                await agent.describe()
                host.disturb(slow)
                host.power_off_from_within(other)
                assert (await asyncio.wait_for(first, 10)).state == state(other, PowerState.SHUTDOWN)
        finally:
            stopping.cancel()
            await asyncio.wait([stopping])


@asynchronous
async def test_what_a_host_offers(host: Host) -> None:
    async with cleared(host) as agent:
        offer = await agent.describe()
        assert offer.name == "node1"
        assert min(offer.vcpus, offer.memory_mb, offer.disk_gb) > 0
        assert offer.hypervisor_version >= 1_000_000


@asynchronous
async def test_what_was_given_is_no_guest_until_it_is_adopted(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        for hand in (agent, host.agent()):
            assert await hand.give(spec.server_id, 0) == state(spec, PowerState.SHUTDOWN)
        assert await agent.guests() == []
        for attempt in (agent.pause(spec.server_id), agent.stop(spec.server_id, 0)):
            with pytest.raises(HostFailed):
                await attempt
        later = msgspec.structs.replace(spec, epoch=3)
        for hand in (agent, host.agent()):
            assert await hand.adopt(later) == state(later, PowerState.RUNNING)
        assert await agent.guests() == [state(later, PowerState.RUNNING)]
        for older in (agent.adopt(spec), agent.start(spec), agent.reboot(spec, hard=True, timeout=0)):
            with pytest.raises(HostFailed):
                await older


@asynchronous
async def test_what_was_given_in_vain_starts_in_whatever_epoch_it_is_now(host: Host) -> None:
    async with cleared(host) as agent:
        for hand in ("start", "reboot"):
            spec = host.spec()
            await agent.build(spec)
            await agent.give(spec.server_id, 0)
            await agent.offer(spec.server_id, 2)
            now = msgspec.structs.replace(spec, epoch=3)
            running = state(now, PowerState.RUNNING)
            if hand == "start":
                assert await agent.start(now) == running
            else:
                assert await agent.reboot(now, hard=True, timeout=0) == running
            assert running in await agent.guests()


@asynchronous
async def test_a_second_attempt_within_a_host_starts_from_what_was_given(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        second, third, back = (msgspec.structs.replace(spec, epoch=epoch) for epoch in (2, 3, 4))
        here = Peer(host=(await agent.describe()).name)
        await agent.build(spec)
        await agent.give(spec.server_id, 0)
        for attempt in (second, third):
            assert await agent.receive(attempt, here) == state(attempt, PowerState.RUNNING)
        assert await agent.guests() == [state(third, PowerState.RUNNING)]
        # It was undone, or is not wanted since.
        await agent.discard(spec.server_id, 2)
        assert await agent.guests() == [state(third, PowerState.RUNNING)]
        await agent.discard(spec.server_id, 3)
        assert await agent.guests() == []
        assert await agent.adopt(back) == state(back, PowerState.RUNNING)


@asynchronous
async def test_what_is_adopted_may_stay_off(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        await agent.give(spec.server_id, 0)
        off = msgspec.structs.replace(spec, powered_on=False)
        assert await agent.adopt(off) == state(off, PowerState.SHUTDOWN)
        assert await agent.guests() == [state(off, PowerState.SHUTDOWN)]


@asynchronous
async def test_a_move_within_a_host_and_either_end_of_it(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        moved, back = (msgspec.structs.replace(spec, epoch=epoch) for epoch in (2, 3))
        here = Peer(host=(await agent.describe()).name)
        await agent.build(spec)
        await agent.give(spec.server_id, 0)
        for hand in (agent, host.agent()):
            assert await hand.receive(moved, here) == state(moved, PowerState.RUNNING)
        await agent.discard(spec.server_id, 7)
        for hand in (agent, host.agent()):
            await hand.discard(spec.server_id, 2)
        assert await agent.guests() == []
        assert await agent.adopt(back) == state(back, PowerState.RUNNING)
        await agent.give(spec.server_id, 0)
        again = msgspec.structs.replace(spec, epoch=4)
        await agent.receive(again, here)
        for hand in (agent, host.agent()):
            await hand.discard(spec.server_id, 3)
        assert await agent.guests() == [state(again, PowerState.RUNNING)]
        await agent.discard(spec.server_id, 4)
        assert await agent.guests() == []
        assert not host.left()


@asynchronous
async def test_nothing_is_taken_that_was_not_given(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        with pytest.raises(HostFailed):
            await agent.offer(spec.server_id, 2)
        with pytest.raises(HostFailed):
            await agent.receive(host.spec(), Peer(host="nowhere"))
        with pytest.raises(HostFailed):
            await agent.give(host.spec().server_id, 0)


@asynchronous
async def test_a_guest_whose_host_is_dead_is_made_anew(host: Host) -> None:
    async with cleared(host) as agent:
        before = host.spec()
        await agent.build(before)
        # This host had it once, and is told of it again: what it has is of an assignment that is over.
        spec = msgspec.structs.replace(before, epoch=2)
        running = state(spec, PowerState.RUNNING)
        assert await agent.recreate(spec) == running
        assert await agent.recreate(spec) == running
        assert await agent.guests() == [running]
        with pytest.raises(HostFailed, match="void"):
            await agent.recreate(before)
        off = msgspec.structs.replace(host.spec(), powered_on=False)
        assert await agent.recreate(off) == state(off, PowerState.SHUTDOWN)
        assert await agent.start(off) == state(off, PowerState.RUNNING)


@asynchronous
async def test_what_cannot_be_made_anew_leaves_nothing(host: Host) -> None:
    """Also of a guest that was rebuilt once: its former disk is on another host."""
    async with cleared(host) as agent:
        spec = msgspec.structs.replace(host.broken_spec(), epoch=2, generation=1)
        with pytest.raises(HostFailed):
            await agent.recreate(spec)
        assert await agent.guests() == []
        assert host.left() == set()


@asynchronous
async def test_an_image_of_a_guest_that_goes_on_as_it_is(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        for power, have in (
            (PowerState.RUNNING, agent.start(spec)), (PowerState.PAUSED, agent.pause(spec.server_id)),
            (PowerState.SHUTDOWN, agent.stop(spec.server_id, 0)),
        ):  # fmt: skip
            await have
            image_id, now = str(uuid4()), state(spec, power)
            # Whoever comes after a crash, at whatever moment, finds what was done, or does it again.
            for hand in (agent, host.agent()):
                assert await hand.snapshot(spec.server_id, image_id) == now
            assert host.sent(image_id) is None
            for hand in (agent, host.agent()):
                assert await hand.upload(spec.server_id, image_id) == now
            sent = host.sent(image_id)
            assert sent is not None and sent.startswith(b"QFI\xfb")  # noqa: PT018 (one fact)
            assert await agent.snapshot(spec.server_id, image_id) == now
        with pytest.raises(HostFailed):
            await agent.upload(spec.server_id, str(uuid4()))


@asynchronous
async def test_an_image_that_is_not_taken_is_not_kept_either(host: Host) -> None:
    async with cleared(host) as agent:
        spec, image_id = host.spec(), str(uuid4())
        await agent.build(spec)
        await agent.snapshot(spec.server_id, image_id)
        host.take_nothing()
        for hand in (agent, host.agent()):
            with pytest.raises(HostFailed):
                await hand.upload(spec.server_id, image_id)
        assert await agent.guests() == [state(spec, PowerState.RUNNING)]


@asynchronous
async def test_the_making_of_an_image_that_was_interrupted_begins_anew(host: Host) -> None:
    async with cleared(host) as agent:
        spec = host.spec()
        await agent.build(spec)
        for turns in (1, 5, 40, 200):
            first, second = str(uuid4()), str(uuid4())
            making = asyncio.create_task(agent.snapshot(spec.server_id, first))
            for _ in range(turns):
                await asyncio.sleep(0)
            making.cancel()
            await asyncio.wait([making])
            agent = host.agent()
            for image_id in (first, second):
                await agent.snapshot(spec.server_id, image_id)
            await agent.upload(spec.server_id, second)
            with pytest.raises(HostFailed):
                await agent.upload(spec.server_id, first)


@asynchronous
async def test_a_guest_that_was_put_away_is_made_of_its_image_alone(host: Host) -> None:
    async with cleared(host) as agent:
        spec, image_id = msgspec.structs.replace(host.spec(), generation=1), str(uuid4())
        await agent.build(spec)
        await agent.stop(spec.server_id, 0)
        await agent.snapshot(spec.server_id, image_id)
        await agent.upload(spec.server_id, image_id)
        for hand in (agent, host.agent()):
            await hand.discard(spec.server_id, 1)
        assert await agent.guests() == []
        assert not host.left()
        again = msgspec.structs.replace(spec, epoch=2, disk_image=host.image(image_id))
        for hand in (agent, host.agent()):
            assert await hand.build(again) == state(again, PowerState.RUNNING)
        assert await agent.reboot(msgspec.structs.replace(again, disk_image=None), hard=True, timeout=0) == state(
            again, PowerState.RUNNING
        )


@asynchronous
async def test_what_cannot_be_made_of_an_image_leaves_nothing(host: Host) -> None:
    """Also of a guest that was rebuilt once: here is nothing of it that anybody wants."""
    async with cleared(host) as agent:
        spec = msgspec.structs.replace(host.broken_spec(), epoch=2, generation=1)
        with pytest.raises(HostFailed):
            await agent.build(msgspec.structs.replace(spec, disk_image=spec.image or host.image(str(uuid4()))))
        assert await agent.guests() == []
        assert not host.left()
