"""Guests that leave a real host while they run, as its agent has it: steered, refused, waiting in line."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.libvirt import live_moving, other_host
from adapters.libvirt.guests import look
from adapters.libvirt.hypervisor import LibvirtHypervisor
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed, InLine, Unavailable
from domain.guest import GuestSpec, GuestState, PowerState
from domain.server.moves.orders import Orders
from handlers.messages import Peer
from tests.adapters.libvirt.traveller import BOOT_SECONDS, Opened, type_until
from tests.aio import asynchronous
from tests.own_hosts import OwnHost, OwnHosts
from tests.real_libvirt import LocalImages, guest_spec, tiny_disk
from tests.waiting import until, wait_until

pytestmark = pytest.mark.libvirt
RESTLESS = (
    "mkdir -p /mnt/t; mount -t tmpfs none /mnt/t; dd if=/dev/urandom of=/mnt/t/a bs=1M count=8 2>/dev/null; "
    "(while :; do cp /mnt/t/a /mnt/t/b; cp /mnt/t/a /mnt/t/c; done) & echo writing=$((40+2))"
)
"""A command that writes 16 MiB of memory again and again, faster than any network of a few MiB a second sends."""
SLOWLY = 5
"""MiB a second."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[OwnHost]]:
    with OwnHosts() as started:
        yield started.start(2)


@pytest.fixture(autouse=True)
def reached_from_here(hosts: list[OwnHost], monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents live in their hosts, and this does not: it reaches libvirts another way."""
    ask = other_host.at

    async def at(uri: str, question: Callable[[Any], Any]) -> Any:
        return await ask(next(own.uri for own in hosts if f"//{own.host.name}/" in uri), question)

    monkeypatch.setattr(other_host, "at", at)


class Guest:
    """On the first host; all is ready for it on the second."""

    def __init__(self, hosts: list[OwnHost]) -> None:
        self.hosts = hosts
        self.images = LocalImages()
        self.spec = guest_spec(self.images.add(tiny_disk()), ram_mb=96)
        self.id = self.spec.server_id
        self.source, self.target = self.agent(0), self.agent(1)
        self.orders = Orders()
        self._agents = [self.source, self.target]

    def agent(self, place: int, **more: Any) -> LibvirtHypervisor:
        own = self.hosts[place]
        settings = {"host_name": own.host.name, "state_dir": self.home(place), "uri": own.uri, "cpu_model": "Nehalem"}
        made = LibvirtHypervisor(LibvirtSettings(**settings | {"migration_mib": SLOWLY} | more), self.images)
        if hasattr(self, "_agents"):
            self._agents.append(made)
        return made

    def home(self, place: int) -> Any:
        directory = self.hosts[place].host.directory / "agent"
        directory.mkdir(exist_ok=True, mode=0o711)
        return directory

    async def begin(self, *, restless: bool = False) -> None:
        await self.source.build(self.spec)
        log = self.home(0) / "instances" / self.id / "console.log"
        await asyncio.to_thread(wait_until, lambda: b"BOOT-COMPLETE" in log.read_bytes(), BOOT_SECONDS)
        if restless:
            said = lambda: log.read_text(errors="replace")  # noqa: E731
            await asyncio.to_thread(type_until, self.hosts[0].uri, self.id, RESTLESS, lambda: "writing=42" in said())
        await self.target.prepare(self.moved)

    @property
    def moved(self) -> GuestSpec:
        return replace(self.spec, epoch=2)

    async def leave(self, agent: LibvirtHypervisor | None = None) -> GuestState:
        arrival = await self.target.arrival(self.id)
        peer = Peer(host=self.hosts[1].host.name, arrival=arrival)
        return await (agent or self.source).leave(self.id, peer, lambda: self.orders)

    async def until_it_leaves(self) -> None:
        async def is_sent() -> bool:
            found = await self.source.progress(self.id)
            return found is not None and found.memory_processed > 0

        await until(is_sent, 30)

    def at(self, place: int) -> PowerState | None:
        with Opened(self.hosts[place].uri) as conn:
            found = look(conn, str(self.home(place)), self.id)
        return found.power_state if found else None

    async def end(self) -> None:
        for agent in (self.source, self.target):
            await agent.destroy(self.id)
        for agent in self._agents:
            await agent.close()


@asynccontextmanager
async def guest(hosts: list[OwnHost], *, restless: bool = False) -> AsyncIterator[Guest]:
    made = Guest(hosts)
    try:
        await made.begin(restless=restless)
        yield made
    finally:
        await made.end()


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@asynchronous
async def test_it_stands_still_for_a_moment_and_is_there(hosts: list[OwnHost]) -> None:
    async with guest(hosts) as it:
        left = await it.leave(it.agent(0, migration_mib=0))
        assert (left.power_state, left.epoch) == (PowerState.RUNNING, 1)
        assert left.downtime_ms is not None
        assert 0 < left.downtime_ms < 10_000
        assert (it.at(0), it.at(1)) == (None, PowerState.RUNNING)
        # Who asks once more hears the same.
        assert await it.leave() == left


@asynchronous
async def test_one_that_is_paused_stays_so(hosts: list[OwnHost]) -> None:
    async with guest(hosts) as it:
        await it.source.pause(it.id)
        assert (await it.leave(it.agent(0, migration_mib=0))).power_state is PowerState.PAUSED
        assert (it.at(0), it.at(1)) == (None, PowerState.PAUSED)


@asynchronous
async def test_what_its_processor_lacks_is_found_before_anything_is_sent(
    hosts: list[OwnHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = live_moving.cpu_of

    def other(conn: Any, document: str) -> Any:
        cpu = known(conn, document)
        return cpu._replace(xml=cpu.xml.replace("Nehalem", "EPYC"))

    monkeypatch.setattr(live_moving, "cpu_of", other)
    async with guest(hosts) as it:
        with pytest.raises(HostFailed, match="lacks what the server uses"):
            await it.leave()
        assert (it.at(0), it.at(1)) == (PowerState.RUNNING, None)


@asynchronous
async def test_one_that_writes_faster_than_is_sent_ends_as_is_said(hosts: list[OwnHost]) -> None:
    async with guest(hosts, restless=True) as it:
        # Its time is over, also for an agent that was started anew in the middle.
        first = asyncio.create_task(it.leave())
        await it.until_it_leaves()
        it.orders = Orders(deadline=later(3))
        again = it.agent(0)
        begun = datetime.now(UTC)
        with pytest.raises(HostFailed, match="aborted"):
            await it.leave(again)
        with pytest.raises(HostFailed, match="aborted"):
            await first
        assert (datetime.now(UTC) - begun).total_seconds() < 8
        assert (it.at(0), it.at(1)) == (PowerState.RUNNING, None)
        # What is over is not begun.
        with pytest.raises(HostFailed, match="aborted"):
            await it.leave()
        # Somebody says that it shall stay.
        it.orders = Orders()
        second = asyncio.create_task(it.leave())
        await it.until_it_leaves()
        found = await it.source.progress(it.id)
        assert found is not None
        assert found.memory_total >= found.memory_remaining > 0
        assert 0 < found.percent < 100
        it.orders = Orders(order="abort")
        with pytest.raises(HostFailed, match="aborted"):
            await second
        assert (it.at(0), it.at(1)) == (PowerState.RUNNING, None)
        # It is made to come, and goes on there.
        it.orders = Orders(policy="force_complete", deadline=later(3))
        begun = datetime.now(UTC)
        left = await it.leave()
        assert left.downtime_ms is not None
        assert (it.at(0), it.at(1)) == (None, PowerState.RUNNING)
        assert 3 <= (datetime.now(UTC) - begun).total_seconds() < 3 + 3 * 16 / SLOWLY


@asynchronous
async def test_a_source_whose_libvirt_died_says_that_it_stays(hosts: list[OwnHost]) -> None:
    async with guest(hosts) as it:
        leaving = asyncio.create_task(it.leave())
        await it.until_it_leaves()
        hosts[0].kill_libvirtd()
        with pytest.raises((HostFailed, Unavailable)):
            await leaving
        hosts[0].restart_libvirtd()
        await until(lambda: it.at(1) is None, 30)
        it.orders = Orders(deadline=later(-1))
        with pytest.raises(HostFailed, match="aborted"):
            await it.leave()
        assert (await it.source.adopt(it.spec)).power_state is PowerState.RUNNING


@asynchronous
async def test_others_come_first(hosts: list[OwnHost]) -> None:
    async with guest(hosts) as it:
        narrow = it.agent(1, max_incoming=1)
        other = replace(it.moved, server_id=guest_spec(None).server_id)
        third = replace(it.moved, server_id=guest_spec(None).server_id)
        with pytest.raises(InLine):
            await narrow.prepare(other)
        with pytest.raises(InLine):
            await narrow.prepare(third)
        # What is ready is not made ready a second time.
        await narrow.prepare(it.moved)
        await it.leave(it.agent(0, migration_mib=0))
        with pytest.raises(InLine):
            await narrow.prepare(third)
        await narrow.prepare(other)
        # An agent that is started anew knows who is expected.
        with pytest.raises(InLine):
            await it.agent(1, max_incoming=1).prepare(third)
        await narrow.discard(other.server_id, 2)
        await narrow.prepare(third)
        await narrow.discard(third.server_id, 2)
