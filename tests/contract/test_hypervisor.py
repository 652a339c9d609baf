"""What every hypervisor promises of guests that stay where they are."""

import asyncio
from contextlib import aclosing
from uuid import uuid4

import msgspec
import pytest

from domain.errors import HostFailed
from domain.guest import GuestState, PowerState
from tests.aio import asynchronous
from tests.contract.hypervisor import Host, cleared, state
from tests.waiting import until


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
