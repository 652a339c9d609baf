"""What a simulated host can be told to do, beyond what every hypervisor does."""

import asyncio
from contextlib import aclosing
from random import Random

import pytest

from adapters.simulated import Behaviour, SimulatedHypervisor
from domain.errors import HostFailed, Unavailable
from domain.guest import PowerState
from tests.aio import asynchronous
from tests.clocks import InstantClock
from tests.real_libvirt import guest_spec


def host(clock: InstantClock | None = None, seed: int = 1) -> SimulatedHypervisor:
    return SimulatedHypervisor("node1", clock or InstantClock(), Random(seed))


@asynchronous
async def test_operations_take_their_time() -> None:
    clock = InstantClock()
    slow = host(clock)
    slow.behaviour["build"] = Behaviour(delay=(2.0, 3.0))
    slow.behaviour["stop"] = Behaviour(delay=(90.0, 90.0))
    spec, begun = guest_spec(None), clock.now()
    await slow.build(spec)
    assert 2.0 <= (clock.now() - begun).total_seconds() <= 3.0
    begun = clock.now()
    await slow.stop(spec.server_id, 60)
    assert (clock.now() - begun).total_seconds() == 60
    begun = clock.now()
    await slow.build(guest_spec(None, epoch=2))
    await slow.start(spec)
    assert (clock.now() - begun).total_seconds() <= 3.0


@asynchronous
async def test_the_next_so_many_fail() -> None:
    faulty = host()
    faulty.behaviour["build"] = Behaviour(fail_next=2, message="No luck.")
    for _ in range(2):
        with pytest.raises(HostFailed, match="No luck"):
            await faulty.build(guest_spec(None))
    spec = guest_spec(None)
    await faulty.build(spec)
    faulty.behaviour["destroy"].fail_next = 1
    with pytest.raises(HostFailed):
        await faulty.destroy(spec.server_id)
    assert len(await faulty.guests()) == 1
    await faulty.destroy(spec.server_id)
    assert await faulty.guests() == []


@asynchronous
async def test_chance_repeats_itself() -> None:
    async def outcomes(seed: int) -> list[bool]:
        faulty = host(seed=seed)
        faulty.behaviour["build"].failure = 0.5
        found = []
        for _ in range(200):
            try:
                await faulty.build(guest_spec(None))
                found.append(True)
            except HostFailed:
                found.append(False)
        return found

    first = await outcomes(1)
    assert first == await outcomes(1) != await outcomes(2)
    assert 60 < sum(first) < 140


@asynchronous
async def test_a_host_that_does_not_answer() -> None:
    away = host()
    spec = guest_spec(None)
    await away.build(spec)
    async with aclosing(away.watch()) as events:
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        away.available = False
        with pytest.raises(HostFailed):
            await waiting
    for attempt in (away.guests(), away.describe(), away.build(spec), away.destroy(spec.server_id)):
        with pytest.raises(Unavailable):
            await attempt
    with pytest.raises(HostFailed):
        await anext(away.watch())
    away.happen(spec.server_id, PowerState.CRASHED)
    away.available = True
    async with aclosing(away.watch()) as events:
        assert (await anext(events)).state.power_state is PowerState.CRASHED


@asynchronous
async def test_the_console_counts_boots() -> None:
    plain = host()
    spec = guest_spec(None)
    await plain.build(spec)
    await plain.reboot(spec, hard=True, timeout=0)
    await plain.start(spec)
    assert await plain.console_log(spec.server_id, 1) == "BOOT-COMPLETE hostname=web1 boots=2\n"
    assert len((await plain.console_log(spec.server_id, None)).splitlines()) == 2
