"""What every hypervisor promises of guests that move, or are made anew, or become images."""

import asyncio
from uuid import uuid4

import msgspec
import pytest

from domain.errors import HostFailed
from domain.guest import PowerState
from handlers.messages import Peer
from tests.aio import asynchronous
from tests.contract.hypervisor import Host, cleared, state


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
