"""Console sessions of proxies that are gone: closed once, by whoever is first, and never of one that lives."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from random import Random

from adapters.mapper import EventMapper
from adapters.memory.signs import MemoryLiveness
from adapters.memory.store import MemoryEventStore
from domain import console
from domain.console import PROXY_LOST, ConsoleClosed, ConsoleOpened
from domain.errors import Unavailable
from domain.kinds import EVENTS
from handlers.consoles.consoles import Consoles
from handlers.consoles.lost_proxies import LostProxies, OpenConsole, life_sign
from handlers.consoles.sessions import Doorkeeper, Session
from handlers.context import Context
from handlers.fleet.liveness import BEAT_SECONDS, DOWN_AFTER, LifeSigns, keep_beating
from handlers.messages import ConsoleAddress, encode
from projections.console_sessions import TABLE, ConsoleSessionsView
from projections.memory import MemoryRows
from tests.cell import Cell
from tests.domain.server.servers import PLACED
from tests.sim import virtual_time
from tests.sim.faults import ProcessFaults, Weather
from tests.sim.virtual_time import VirtualClock

USER = Context(request_id="req-user", user_id="u", project_id="p")
IN_TIME = DOWN_AFTER.total_seconds() + 3 * BEAT_SECONDS
"""A sweep may have been just before, and so may a beat."""


class Proxy:
    """One start of a proxy, without its sockets."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self.name = name
        self.faults = calm()
        store = MemoryEventStore(world.cell.broker, "cell1", EventMapper(EVENTS), self.faults)
        self.grants = Consoles(store, world.cell.bus, world.cell.stamp)
        self.doorkeeper = Doorkeeper(store, self.grants, world.cell.stamp, lambda *_: True, name)
        self.liveness = MemoryLiveness(world.cell.broker, "cell1", self.faults)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.doorkeeper.run())
            group.create_task(keep_beating(self.liveness, self._world.cell.clock, life_sign(self.name)))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[tuple[Session, asyncio.Event]]:
        """An open session, and what is set when it is cut."""
        server, _ = await self._world.cell._servers.load(_server(await self._world.cell.server()))
        assert server
        session, cut = Session(await self.grants.issue(USER, server, "novnc"), "192.0.2.1"), asyncio.Event()
        async with self.doorkeeper.admitted(session):
            session.on_cut(cut.set)
            yield session, cut


def _server(server_id: str) -> "console.AggregateId":
    return console.AggregateId("server", server_id)


def calm() -> ProcessFaults:
    """Nothing goes wrong, until the process is dead."""
    weather = Weather(Random(1))
    weather.calm()
    return ProcessFaults(weather)


class World:
    """A cell in memory and in virtual time, with proxies and conductors."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.cell = Cell(VirtualClock())
        self._group = group
        self._rows = MemoryRows((ConsoleSessionsView(),))
        self._tasks = [self.spawn(self.cell.bus.serve_questions([PLACED.host], self._answer))]

    async def _answer(self, _host: str, _question: bytes) -> bytes:
        return encode(ConsoleAddress(host="127.0.0.1", port=5900))

    def spawn(self, work: "Awaitable[None]") -> "asyncio.Task[None]":
        return self._group.create_task(work)  # type: ignore[arg-type]

    def proxy(self, name: str) -> Proxy:
        made = Proxy(self, name)
        self._tasks.append(self.spawn(_until_dead(made.run())))
        return made

    def conductor(self, name: str) -> ProcessFaults:
        """One that sees to lost proxies; what can befall its signs of life."""
        faults, own = calm(), f"conductor/{name}"
        liveness = MemoryLiveness(self.cell.broker, "cell1", faults)
        life = LifeSigns(liveness, self.cell.clock)
        grants = Consoles(self.cell.store, self.cell.bus, self.cell.stamp)
        lost = LostProxies(self, grants, life, self.cell.stamp, own)
        for part in (life.run(), keep_beating(liveness, self.cell.clock, own), lost.run()):
            self._tasks.append(self.spawn(_until_dead(part)))
        return faults

    async def console_proxies(self) -> list[str]:
        return sorted({row.proxy for row in await self._open()})

    async def consoles_of(self, proxy: str) -> list[OpenConsole]:
        return [OpenConsole(row.grant_id, row.session_id) for row in await self._open() if row.proxy == proxy]

    async def _open(self) -> list[object]:
        await self._read()
        return [row for row in self._rows.all(TABLE) if row.closed_at is None]

    async def _read(self) -> None:
        async for batch in self.cell.store.follow(self._rows.positions.get("cell1", 0), "console"):
            if not batch:
                return
            self._rows.apply(batch)

    async def ends(self, session: Session) -> list[ConsoleClosed]:
        """What the log says of a session's end."""
        history = await self.cell.store.load(console.aggregate(session.grant_id))
        return [recorded.event for recorded in history if isinstance(recorded.event, ConsoleClosed)]

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()


async def _until_dead(work: Awaitable[None]) -> None:
    with suppress(Unavailable, ExceptionGroup):
        await work


def in_virtual_time(test: "Callable[[World], Awaitable[None]]") -> Callable[[], None]:
    @functools.wraps(test)
    def call() -> None:
        async def body() -> None:
            async with asyncio.TaskGroup() as group:
                world = World(group)
                await asyncio.sleep(1)
                await test(world)
                world.end()

        virtual_time.run(body())

    del call.__wrapped__  # pytest would look for a fixture named world
    return call


@in_virtual_time
async def test_the_sessions_of_a_killed_proxy_are_closed_once(world: World) -> None:
    for name in ("one", "two"):
        world.conductor(name)
    killed, living = world.proxy("console/1"), world.proxy("console/2")
    with suppress(Unavailable):
        async with killed.session() as (session, _), living.session() as (other, cut):
            session.bytes_in = 7
            await asyncio.sleep(12)
            killed.faults.dead = True
            assert await world.ends(session) == []
            await asyncio.sleep(IN_TIME)
            (closed,) = await world.ends(session)
            assert (closed.reason, closed.bytes_in, closed.bytes_out) == (PROXY_LOST, 0, 0)
            assert 12 - BEAT_SECONDS <= closed.seconds <= 12
            await asyncio.sleep(10 * IN_TIME)
            assert await world.ends(other) == []
            assert not cut.is_set()
    assert len(await world.ends(session)) == 1
    assert [closed.reason for closed in await world.ends(other)] == [""]


@in_virtual_time
async def test_a_proxy_that_was_cut_off_ends_what_was_closed_for_it(world: World) -> None:
    world.conductor("one")
    proxy = world.proxy("console/1")
    async with proxy.session() as (session, cut):
        await asyncio.sleep(12)
        heard = proxy.liveness._faults
        proxy.liveness._faults = dead = calm()
        dead.dead = True
        await asyncio.sleep(IN_TIME)
        proxy.liveness._faults = heard
        await asyncio.sleep(1)
        assert cut.is_set()
        assert session.reason == PROXY_LOST
    assert [closed.reason for closed in await world.ends(session)] == [PROXY_LOST], "its own end came late"


@in_virtual_time
async def test_a_new_conductor_closes_what_a_proxy_left_that_it_never_heard(world: World) -> None:
    proxy = world.proxy("console/1")
    proxy.liveness._faults.dead = True  # type: ignore[attr-defined]
    opened = ConsoleOpened(server_id="s", session_id="1", address="192.0.2.1", proxy="console/1")
    session = Session("token", "192.0.2.1")
    granted = console.ConsoleGranted(
        server_id="s", console_type="novnc", epoch=1, expires_at=world.cell.clock.now() + timedelta(hours=1)
    )
    for event in (granted, opened):
        await Consoles(world.cell.store, world.cell.bus, world.cell.stamp)._grants.execute(
            USER, console.aggregate(session.grant_id), lambda _, event=event: event
        )
    await asyncio.sleep(100)
    world.conductor("one")
    await asyncio.sleep(IN_TIME)
    assert [(closed.reason, closed.seconds) for closed in await world.ends(session)] == [(PROXY_LOST, 0.0)]


@in_virtual_time
async def test_a_conductor_that_hears_nobody_takes_nobody_for_gone(world: World) -> None:
    conductor = world.conductor("one")
    proxy = world.proxy("console/1")
    async with proxy.session() as (session, _):
        await asyncio.sleep(12)
        conductor.dead = proxy.faults.dead = True
        await asyncio.sleep(10 * IN_TIME)
        assert await world.ends(session) == [], "the log was away, not the proxy"
        conductor.dead = proxy.faults.dead = False
        await asyncio.sleep(10 * IN_TIME)
        assert await world.ends(session) == []


@in_virtual_time
async def test_an_end_that_could_not_be_recorded_is_recorded_later(world: World) -> None:
    proxy = world.proxy("console/1")
    with suppress(Unavailable):
        async with proxy.session() as (session, _):
            proxy.faults.dead = True
    assert await world.ends(session) == []
    await asyncio.sleep(60)
    proxy.faults.dead = False
    await asyncio.sleep(2)
    assert [closed.reason for closed in await world.ends(session)] == [""]
