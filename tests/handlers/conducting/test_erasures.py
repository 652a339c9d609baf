"""What was sealed for a server becomes unreadable in its time: that is recorded, once, whoever dies in between."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from domain.errors import Unavailable
from domain.log.record import Recorded
from domain.server import erasure
from domain.server.deletion import ServerDeleted, ServerDeleteRequested
from domain.server.state import Server, aggregate
from handlers.conducting.erasures import LOOK_SECONDS, Erasures
from handlers.conducting.keys import AT_ONCE, Keys
from handlers.conducting.states import ServerStates
from tests.aio import asynchronous
from tests.cell import Cell
from tests.clocks import InstantClock
from tests.waiting import until

WEEK = timedelta(days=7)


class ReadServers:
    """A read model that knows these to live."""

    def __init__(self, *living: str) -> None:
        self._living = living

    async def unfinished(self) -> tuple[list[str], int]:
        return [], 0

    async def living(self, server_ids: Sequence[str]) -> tuple[set[str], int]:
        return set(self._living) & set(server_ids), 1 << 60


class World:
    def __init__(self) -> None:
        self.clock = InstantClock()
        self.cell = Cell(self.clock)
        self.keys = Keys(self.cell.vault, self.cell.store, self.cell.stamp, WEEK)

    def erasures(self, *living: str, keys: Keys | None = None) -> Erasures:
        """Of a process that has just started."""
        states = ServerStates(self.cell.store, self.cell.stamp)
        return Erasures(states, keys or self.keys, self.cell.stamp, ReadServers(*living))

    async def delete(self, server_id: str) -> Recorded:
        deadline = self.clock.now() + timedelta(minutes=2)
        await self.cell.tell(server_id, ServerDeleteRequested(deadline=deadline), ServerDeleted())
        return (await self.cell.store.load(aggregate(server_id)))[-1]

    async def server(self) -> tuple[str, str]:
        """Its id, and what was sealed for it."""
        server_id = await self.cell.server(secrets=b"hunter2")
        requested = (await self.cell.store.load(aggregate(server_id)))[0].event
        return server_id, requested.secrets  # type: ignore[attr-defined]

    async def decided(self, server_id: str) -> int:
        return len(await self.cell.store.load(erasure.aggregate(server_id)))


@asynchronous
async def test_the_key_outlives_its_server_for_as_long_as_is_wanted() -> None:
    world = World()
    server_id, sealed = await world.server()
    erasures = world.erasures()
    erasures.take(await world.delete(server_id), None)
    world.clock.advance(WEEK.total_seconds() - 1)
    assert await erasures.sweep() == 1
    assert await world.cell.vault.unseal(server_id, sealed) == b"hunter2"
    assert await world.decided(server_id) == 0
    world.clock.advance(1)
    for _ in range(2):
        assert await erasures.sweep() == 0
        assert await world.cell.vault.unseal(server_id, sealed) is None
        assert await world.decided(server_id) == 1


@asynchronous
async def test_who_dies_in_between_is_made_good_by_the_next() -> None:
    world = World()
    server_id, sealed = await world.server()
    await world.delete(server_id)
    world.clock.advance(WEEK.total_seconds())

    class Dying(Keys):
        async def forget(self, server_id: str) -> None:
            raise Unavailable("dead")

    dying = world.erasures(keys=Dying(world.cell.vault, world.cell.store, world.cell.stamp, WEEK))
    await dying._note_kept()
    assert await dying.sweep() == 1
    assert (await world.decided(server_id), await world.cell.vault.unseal(server_id, sealed)) == (1, b"hunter2")
    next_one = world.erasures()
    await next_one._note_kept()
    assert await next_one.sweep() == 0
    assert (await world.decided(server_id), await world.cell.vault.unseal(server_id, sealed)) == (1, None)


@asynchronous
async def test_the_keys_of_living_servers_stay() -> None:
    """Also where the read model does not know (yet) that they live."""
    world = World()
    known, behind, gone = [(await world.server())[0] for _ in range(3)]
    await world.delete(gone)
    world.clock.advance(WEEK.total_seconds())
    erasures = world.erasures(known)
    await erasures._note_kept()
    assert await erasures.sweep() == 0
    assert await world.keys.owners() == [known, behind]


@asynchronous
async def test_what_is_left_over_is_erased_when_keys_are_kept_no_more() -> None:
    world = World()
    server_id, _ = await world.server()
    await world.delete(server_id)
    keys = Keys(world.cell.vault, world.cell.store, world.cell.stamp, AT_ONCE)
    async with asyncio.timeout(10):
        await world.erasures(keys=keys).run()
    assert (await world.decided(server_id), await keys.owners()) == (1, [])


@asynchronous
async def test_it_goes_on_looking() -> None:
    world = World()
    server_id, _ = await world.server()
    erasures = world.erasures(server_id)
    running = asyncio.create_task(erasures.run())
    await asyncio.sleep(0)
    erasures.take(await world.delete(server_id), None)

    async def erased() -> bool:
        return not await world.keys.owners()

    await until(erased)
    assert await world.decided(server_id) == 1
    running.cancel()


@pytest.mark.parametrize(("has_key", "kept"), [(False, WEEK), (True, AT_ONCE)])
@asynchronous
async def test_what_was_never_sealed_or_is_erased_at_once_has_no_time(*, has_key: bool, kept: timedelta) -> None:
    world = World()
    server_id = await world.cell.server(secrets=b"hunter2" if has_key else None)
    erasures = world.erasures(keys=Keys(world.cell.vault, world.cell.store, world.cell.stamp, kept))
    deleted = await world.delete(server_id)
    state: Server | None = await ServerStates(world.cell.store, world.cell.stamp).get(server_id)
    erasures.take(deleted, state)
    world.clock.advance(LOOK_SECONDS + WEEK.total_seconds())
    assert await erasures.sweep() == 0
    assert await world.decided(server_id) == 0
