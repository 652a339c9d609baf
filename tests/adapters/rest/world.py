"""The REST faces of a cell in memory: the real handlers, conductor and agents, and simulated hosts.

Longer than other files are: it is one cloud, put together in one place, and no part of it is used without the others.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker, NoFaults
from adapters.memory.commands import MemoryCommandBus
from adapters.memory.queries import MemoryLog, MemoryQueries, MemoryReadServers, ReplayedQueries
from adapters.memory.signs import MemoryLiveness, MemoryPositions
from adapters.memory.store import MemoryEventStore
from adapters.memory.vault import MemoryVault
from adapters.rest.app import create_app, create_faces
from adapters.rest.identity.directory import Directory
from adapters.rest.identity.feed import configuration, feed
from adapters.rest.identity.passwords import hash_password, hashed_beside
from adapters.rest.kit.event_stream import Streams
from adapters.rest.kit.limits import LargeBodies
from adapters.rest.kit.policy import Policy
from adapters.rest.kit.services import AuditServices, Bounds, ConsoleServices, Services, StockLimits
from adapters.rest.kit.settings import IdentitySettings, Project, RestSettings, User
from adapters.rest.past import PastServices
from adapters.simulated.hypervisor import SimulatedHypervisor
from adapters.system import SystemIds
from adapters.volume_files import VolumeFiles
from domain.catalogue import flavor, keypair, quota, server_group
from domain.catalogue.flavor import Flavor, FlavorCreated
from domain.fleet import host
from domain.kinds import EVENTS
from domain.log.record import Event, Recorded
from domain.neighbours import image, network, volume_type
from domain.neighbours.identity import state as people
from domain.neighbours.image import ImageCreated, ImageUploaded
from domain.neighbours.network import NetworkCreated
from domain.neighbours.volume import state as storage
from handlers.accepted import Accepted
from handlers.cells import Cell, Cells
from handlers.conducting.conducting import Conducting
from handlers.consoles.consoles import Consoles
from handlers.consoles.logs import ConsoleLogs
from handlers.context import Stamp
from handlers.fleet.fleet import Fleet
from handlers.fleet.hosts import Hosts
from handlers.fleet.liveness import LifeSigns
from handlers.host.agent import Agent
from handlers.host.image_tickets import ImageTickets
from handlers.log.ledger_feed import LedgerFeed
from handlers.log.registry import Registry
from handlers.messages import question_decoder
from handlers.metadata import Passwords
from handlers.neighbours import Neighbours
from handlers.neighbours.images import EmbeddedImages
from handlers.neighbours.networks import EmbeddedNetworks
from handlers.neighbours.people import People
from handlers.neighbours.revocations import Revocations
from handlers.neighbours.volume_bytes import VolumeBytes
from handlers.neighbours.volumes import EmbeddedVolumes
from handlers.past.moments import Moments
from handlers.past.news import News
from handlers.servers.progress import MigrationProgress
from handlers.servers.servers import Servers
from projections.console_sessions import ConsoleSessionsView
from projections.event_log import EventLogView
from projections.instance_actions import InstanceActionsView
from projections.memory import MemoryRows
from projections.migrations import MigrationsView
from projections.servers import ServersView
from tests.adapters.rest.client import Client
from tests.adapters.rest.sent_images import SentImages
from tests.clocks import StandingClock
from tests.sim.consoles import OpenConsolesIn

PASSWORDS = {name: f"{name}-secret" for name in ("amy", "rob", "eve", "host", "ann")} | {"root": "admin-secret"}
"""root administers; amy is a member and rob a reader of blue; eve is a member of green; host is a compute host's;
ann may look into the logs, and do nothing else."""
BLUE, GREEN, ADMIN = "b1" * 16, "c2" * 16, "a0" * 16
HASHES = {name: hash_password(password) for name, password in PASSWORDS.items()}
IMAGE, NETWORK, SUBNET = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")


CELL, API, PROJECTION = "cell1", "api", "rows"
HOST_IDS = {f"node{digit}": f"{digit * 8}-aaaa-4aaa-8aaa-{digit * 12}" for digit in "12"}
SECONDS = 10.0
"""Longest time that anything here takes."""


def user_id(name: str) -> str:
    return name.encode().hex().ljust(32, "0")


def identity_settings() -> IdentitySettings:
    def user(name: str, roles: dict[str, tuple[str, ...]]) -> User:
        return User(id=user_id(name), name=name, password_hash=HASHES[name], roles=roles)

    return IdentitySettings(
        users=(
            user("root", {ADMIN: ("admin",), BLUE: ("admin",)}),
            user("amy", {BLUE: ("member",)}),
            user("rob", {BLUE: ("reader",)}),
            user("eve", {GREEN: ("member",)}),
            user("host", {GREEN: ("service", "reader")}),
            user("ann", {GREEN: ("auditor",)}),
        ),
        projects=(Project(id=ADMIN, name="admin"), Project(id=BLUE, name="blue"), Project(id=GREEN, name="green")),
        token_keys=(b"k" * 32,),
    )


class Gate(NoFaults):
    """The conductor hears of what happens only while it is open."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def before(self, operation: str) -> None:
        if operation == "follow":
            await self.open.wait()


class World:
    def __init__(
        self,
        directory: Path,
        public_url: str = "http://cloud.test",
        stock_limits: StockLimits | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.clock = StandingClock()
        self.broker = broker = Broker(self.clock)
        mapper = EventMapper(EVENTS)
        self.stamp = Stamp(self.clock, SystemIds())
        self.store = MemoryEventStore(broker, CELL, mapper)
        api_store = self._api_store = MemoryEventStore(broker, API, mapper)
        kinds: list[Any] = [flavor.KIND, keypair.KIND, server_group.KIND, network.KIND, image.KIND, quota.KIND]
        kinds += [storage.KIND, volume_type.KIND, people.KIND]
        self.registry = Registry(api_store, self.stamp, kinds)
        self.host_registry = Registry(self.store, self.stamp, [host.KIND])
        self.vault = MemoryVault(broker, CELL)
        self.bus = MemoryCommandBus(broker, CELL)
        self.ledger = LedgerFeed(self.store, self.stamp)
        signs = MemoryLiveness(broker, CELL)
        self._positions = MemoryPositions(broker)
        self.life = LifeSigns(signs, self.clock)
        self._rows = MemoryRows(
            (ServersView(), InstanceActionsView(), MigrationsView(), ConsoleSessionsView(), EventLogView())
        )
        self.queries = MemoryQueries(self._rows)
        self._read_servers = MemoryReadServers(self._rows, CELL)
        limits = quota.Limits()
        cells = Cells(Cell(self.store, self.bus, self.vault, self.stamp))
        self.people_vault = MemoryVault(broker, API)
        self.people = People(self.registry, self.people_vault, self.stamp, hashed_beside)
        self.directory = Directory(identity_settings(), self.clock, self.people.opened)
        self.people.listen(partial(feed, self.directory))
        self.services = Services(
            settings=RestSettings(
                public_url=public_url,
                identity=identity_settings(),
                images_dir=directory / "images",
                volumes_dir=directory / "volumes",
                cell=CELL,
            ),
            registry=self.registry,
            neighbours=Neighbours(
                self.directory,
                EmbeddedImages(self.registry, self.stamp, (stock_limits or StockLimits()).images),
                EmbeddedNetworks(self.registry),
                EmbeddedVolumes(self.registry),
            ),
            servers=Servers(cells, self.registry, self.stamp, limits),
            hosts=Hosts(self.host_registry),
            fleet=Fleet(self.host_registry),
            queries=self.queries,
            audit=AuditServices(
                MemoryLog(self._rows), News(self._positions, PROJECTION, self.clock), self._event_at, Streams()
            ),
            liveness=self.life,
            ledger=lambda: self.ledger.writer.state,
            progress=MigrationProgress(cells),
            settle=self._settle,
            consoles=ConsoleServices(
                Consoles(self.store, self.bus, self.stamp), ConsoleLogs(cells), "http://consoles.test:6080"
            ),
            passwords=Passwords(cells),
            revocations=Revocations(api_store, self.stamp),
            people=self.people,
            tickets=ImageTickets(b"t" * 32, self.clock),
            policy=policy or Policy(),
            limits=Bounds(limits, stock_limits or StockLimits(), LargeBodies(self.clock)),
            stamp=self.stamp,
        )
        self.volume_files = VolumeFiles(directory / "volumes", directory / "images")
        self.volume_bytes = VolumeBytes(self.registry, api_store, self.volume_files, self.stamp)
        self._volume_news = asyncio.Event()
        self.registry.listen(lambda _: self._volume_news.set())
        moments = Moments((self.store, api_store), self.clock)
        past = PastServices(
            self.services, moments, self.store, api_store, lambda _moment, stores: ReplayedQueries(stores)
        )
        self.services = replace(self.services, past=past)
        self.settled: list[Accepted] = []
        self.faces = create_faces(self.services, self.directory)
        self.app = create_app(self.services, self.directory)
        self._gate = Gate()
        self._conducting = Conducting(
            store=MemoryEventStore(broker, CELL, mapper, self._gate),
            api_store=api_store,
            bus=self.bus,
            liveness=signs,
            vault=self.vault,
            stamp=self.stamp,
            read_servers=self._read_servers,
            open_consoles=OpenConsolesIn(self._rows),
            tickets=self.services.tickets,
        )
        files = SentImages(lambda: self.app)
        self.hypervisors: dict[str, SimulatedHypervisor] = {}
        self.hypervisors |= {
            name: SimulatedHypervisor(
                name,
                self.clock,
                Random(0),
                vcpus=8,
                memory_mb=16384,
                disk_gb=100,
                others=self.hypervisors,
                files=files,
            )
            for name in HOST_IDS
        }
        self.agents = {
            name: Agent({name: hypervisor}, HOST_IDS, self.bus, signs, self.stamp, files.keep)
            for name, hypervisor in self.hypervisors.items()
        }
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Have everything run, and found what a cloud begins with: two flavors, an image and a shared network."""
        self._gate.open.set()
        self._run("conductor", self._conducting.run("control1", lambda: None))
        self._run("registry", self.registry.run())
        await self._found_people()
        self._run("hosts", self.host_registry.run())
        self._run("ledger", self.ledger.run())
        self._run("life", self.life.run())
        for name, agent in self.agents.items():
            self.run_agent(name)
            await agent.enrolled()
        await self._found_all()
        await turns_until(lambda: self.services.fleet.numbered(2) and all(map(self.life.host_up, HOST_IDS)))
        self._gate.open.clear()

    def run_agent(self, name: str) -> None:
        """Start the agent of a host."""
        self._run(name, self.agents[name].run())

    def open(self) -> None:
        """Let conductor and hosts work, for as long as somebody waits for something."""
        self._gate.open.set()

    async def read(self) -> None:
        """Take in what a log has that somebody else wrote, and let users in. Nobody works on it."""
        self._run("registry", self.registry.run())
        self._run("hosts", self.host_registry.run())
        self._run("ledger", self.ledger.run())
        await asyncio.gather(self._found_people(), self.host_registry.ready(), self.ledger.ready())
        await self.project()

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = asyncio.create_task(work)

    async def stop(self, *names: str) -> None:
        """End a process, or all."""
        ended = [self._tasks.pop(name) for name in names or list(self._tasks)]
        for task in ended:
            task.cancel()
        for outcome in await asyncio.gather(*ended, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def advance(self) -> None:
        """Let conductor and hosts work until nothing is under way."""
        self._gate.open.set()
        async with asyncio.timeout(SECONDS):
            await self.project()
            while (await self._read_servers.unfinished())[0]:
                await self.broker.cell(CELL).appended.wait()
                await self.project()
        self._gate.open.clear()

    async def advance_until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Let them work, and time pass, until it holds, though something may still be under way."""
        self._gate.open.set()
        async with asyncio.timeout(SECONDS):
            await self.project()
            while not await holds():
                self.clock.advance(0.2)
                await asyncio.sleep(0)
                await self.project()
        self._gate.open.clear()

    async def make_volumes(self) -> None:
        """Have the bytes of volumes and snapshots made and removed, until nothing is left to be done."""

        def done() -> bool:
            return not any(each.open for _, each in self.registry.states(storage.KIND.name))

        self._run("volume bytes", self.volume_bytes.run())
        async with asyncio.timeout(SECONDS):
            while not done():
                self._volume_news.clear()
                await self._volume_news.wait()
        await self.stop("volume bytes")
        await self.project()

    async def start_agent(self, name: str) -> None:
        """Start one that was stopped."""
        self._run(name, self.agents[name].run())
        await self.agents[name].enrolled()

    async def project(self) -> None:
        """Have the projections take in what the log has. Nobody else does: who does not wait for them does not see
        what he has written."""
        for store in (self.store, self._api_store):
            async for batch in store.follow(self._rows.positions.get(store.cell, 0)):
                if not batch:
                    break
                self._rows.apply(batch)
            await self._positions.announce(PROJECTION, store.cell, self._rows.positions.get(store.cell, 0))

    async def last_of_api(self) -> int:
        return await self._api_store.last_position()

    async def _event_at(self, cell: str, position: int) -> Recorded | None:
        return await {CELL: self.store, API: self._api_store}[cell].event_at(position)

    async def _settle(self, accepted: Iterable[Accepted]) -> None:
        self.settled += accepted
        await self.project()

    @asynccontextmanager
    async def answering(self, answer: Callable[[Any], bytes]) -> AsyncIterator[None]:
        """Hosts that answer what they are asked so."""

        async def handle(_host: str, question: bytes) -> bytes:
            return answer(question_decoder.decode(question))

        serving = asyncio.create_task(self.bus.serve_questions(list(HOST_IDS), handle))
        await asyncio.sleep(0)
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    async def _found_people(self) -> None:
        await self.people.start()
        await self.people.configure(configuration(identity_settings()))

    async def _found_all(self) -> None:
        for number, name, ram, disk in ((1, "m1.tiny", 64, 1), (2, "m1.small", 2048, 20)):
            made = Flavor(id=str(number), name=name, vcpus=1, ram_mb=ram, disk_gb=disk)
            await self._found(flavor.CATALOGUE, FlavorCreated(flavor=made))
        created = ImageCreated(
            image_id=IMAGE, name="tiny", owner=ADMIN, disk_format="qcow2", container_format="bare",
            visibility="public", properties={"hw_disk_bus": "virtio"},
        )  # fmt: skip
        await self._found(image.aggregate(IMAGE), created)
        uploaded = ImageUploaded(size=1000, virtual_size=1 << 20, checksum="c" * 32, hash_value="d" * 128)
        await self._found(image.aggregate(IMAGE), uploaded)
        shared = NetworkCreated(
            network_id=NETWORK, name="private", project_id=ADMIN, subnet_id=SUBNET, cidr="10.0.0.0/24", shared=True
        )
        await self._found(network.aggregate(NETWORK), shared)

    async def _found(self, aggregate: Any, event: Event) -> None:
        await self.registry.execute(self.stamp.own_context(), aggregate, lambda _: event)

    async def client(self, name: str | None, microversion: str | None = "2.100") -> Client:
        """A client of root, amy, rob or eve; of nobody without a name."""
        client = Client(self.app, None, microversion)
        if name:
            answer = await client.post("/identity/v3/auth/tokens", login(name))
            assert answer.status == 201, answer
            client.token = answer.headers["x-subject-token"]
        return client


async def turns_until(holds: Callable[[], object]) -> None:
    """Let the others have their turns until it holds."""
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - nobody sleeps here: there is always somebody at work
            await asyncio.sleep(0)


def login(name: str, project: str | None = None, password: str | None = None) -> dict[str, Any]:
    """A request for a token."""
    home = {"root": "admin", "amy": "blue", "rob": "blue", "eve": "green", "host": "green", "ann": "green"}
    user = {"name": name, "domain": {"name": "Default"}, "password": password or PASSWORDS[name]}
    scope = {"project": {"name": project or home[name], "domain": {"id": "default"}}}
    return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}


def new_server(**fields: Any) -> dict[str, Any]:
    """A good body for POST /servers."""
    base = {"name": "web1", "flavorRef": "1", "imageRef": IMAGE, "networks": [{"uuid": NETWORK}]}
    return {"server": {name: value for name, value in (base | fields).items() if value is not None}}


@asynccontextmanager
async def world(directory: Path, **more: Any) -> AsyncIterator[World]:
    """A world that is ready to be asked."""
    made = World(directory, **more)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()
        await made.broker.close()
