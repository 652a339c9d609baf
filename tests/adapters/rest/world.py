"""The REST faces over everything in memory: real handlers and registry, a stand-in for conductor and hosts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.commands import MemoryCommandBus
from adapters.memory.queries import MemoryQueries
from adapters.memory.signs import MemoryLiveness
from adapters.memory.store import MemoryEventStore
from adapters.memory.vault import MemoryVault
from adapters.rest.app import create_app
from adapters.rest.identity.directory import Directory
from adapters.rest.identity.passwords import hash_password
from adapters.rest.limits import LargeBodies
from adapters.rest.services import Services, StockLimits
from adapters.rest.settings import IdentitySettings, Project, RestSettings, User
from adapters.system import SystemIds
from domain import flavor, host, image, keypair, ledger, network, quota
from domain.flavor import Flavor, FlavorCreated
from domain.guest import HostDescription, PowerState
from domain.image import ImageCreated, ImageUploaded
from domain.kinds import EVENTS
from domain.ledger import Ledger
from domain.network import NetworkCreated
from domain.record import Event
from domain.server import decide
from domain.server.events import Fault, ServerPlaced
from domain.server.state import KIND, Server, aggregate
from domain.server.steps import Command, FinishDelete, Place, next_step
from handlers.console_logs import ConsoleLogs
from handlers.consoles import Consoles
from handlers.context import Context, Stamp
from handlers.fleet import Fleet
from handlers.hosts import Hosts
from handlers.image_tickets import ImageTickets
from handlers.liveness import LifeSigns
from handlers.messages import question_decoder
from handlers.metadata import Passwords
from handlers.ports import Clock
from handlers.registry import Registry
from handlers.reports import DONE, DONE_WITH_POWER
from handlers.repository import Repository
from handlers.revocations import Revocations
from handlers.server_details import ServerDetails
from handlers.servers import Servers
from projections.instance_actions import InstanceActions
from projections.memory import MemoryRows
from projections.servers import Servers as ServersProjection
from tests.adapters.rest.client import Client
from tests.clocks import InstantClock
from tests.waiting import until

PASSWORDS = {name: f"{name}-secret" for name in ("amy", "rob", "eve", "host")} | {"root": "admin-secret"}
"""root administers; amy is a member and rob a reader of blue; eve is a member of green; host is a compute host's."""
BLUE, GREEN, ADMIN = "b1" * 16, "c2" * 16, "a0" * 16
HASHES = {name: hash_password(password) for name, password in PASSWORDS.items()}
IMAGE, NETWORK, SUBNET = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")


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
        ),
        projects=(Project(id=ADMIN, name="admin"), Project(id=BLUE, name="blue"), Project(id=GREEN, name="green")),
        token_keys=(b"k" * 32,),
    )


class World:
    def __init__(
        self,
        directory: Path,
        clock: Clock | None = None,
        public_url: str = "http://cloud.test",
        stock_limits: StockLimits | None = None,
    ) -> None:
        self.clock: Clock = clock or InstantClock()
        self.broker = broker = Broker(self.clock)
        mapper = EventMapper(EVENTS)
        self.stamp = Stamp(self.clock, SystemIds())
        self.store = MemoryEventStore(broker, "cell1", mapper)
        api_store = MemoryEventStore(broker, "api", mapper)
        kinds: list[Any] = [flavor.KIND, keypair.KIND, network.KIND, image.KIND, quota.KIND]
        self.registry = Registry(api_store, self.stamp, kinds)
        self.host_registry = Registry(self.store, self.stamp, [host.KIND])
        self.vault = MemoryVault(broker, "cell1")
        self.bus = MemoryCommandBus(broker, "cell1")
        self.ledger = Ledger()
        self.signs = MemoryLiveness(broker, "cell1")
        self.life = LifeSigns(self.signs, self.clock)
        self._rows = MemoryRows((ServersProjection(), InstanceActions()))
        self.queries = MemoryQueries(self._rows)
        self.repository: Repository[Server] = Repository(KIND, self.store, self.stamp)
        limits = quota.Limits()
        self.services = Services(
            settings=RestSettings(
                public_url=public_url, identity=identity_settings(), images_dir=directory / "images", cell="cell1"
            ),
            registry=self.registry,
            identity=Directory(identity_settings()),
            servers=Servers(self.store, self.registry, self.vault, self.stamp, limits),
            details=ServerDetails(self.store, self.stamp),
            hosts=Hosts(self.host_registry),
            fleet=Fleet(self.host_registry),
            queries=self.queries,
            liveness=self.life,
            ledger=lambda: self.ledger,
            settle=self._settle,
            settle_fleet=self._settle_fleet,
            console_logs=ConsoleLogs(self.bus),
            consoles=Consoles(self.store, self.bus, self.stamp),
            console_url="http://consoles.test:6080",
            passwords=Passwords(self.store, self.vault, self.stamp),
            revocations=Revocations(api_store, self.stamp),
            tickets=ImageTickets(b"t" * 32, self.clock),
            default_limits=limits,
            stock_limits=stock_limits or StockLimits(),
            large_bodies=LargeBodies(self.clock),
            stamp=self.stamp,
            clock=self.clock,
            ids=self.stamp.ids,
        )
        self.settled: list[tuple[int, str]] = []
        self.app = create_app(self.services)

    async def _settle_fleet(self, position: int) -> None:
        await self._settle(position, "cell1")

    async def _settle(self, position: int, cell: str) -> None:
        self.settled.append((position, cell))
        await self.project()

    async def project(self) -> None:
        """Have the projections take in what the log has. Nobody else does: who does not wait for them does not see
        what he has written."""
        async for batch in self.store.follow(self._rows.positions.get("cell1", 0)):
            if not batch:
                break
            self._rows.apply(batch)

    @asynccontextmanager
    async def answering(self, answer: Callable[[Any], bytes]) -> AsyncIterator[None]:
        """Hosts that answer what they are asked so."""

        async def handle(_host: str, question: bytes) -> bytes:
            return answer(question_decoder.decode(question))

        serving = asyncio.create_task(self.bus.serve_questions(["node1", "node2"], handle))
        await asyncio.sleep(0)
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    async def found(self) -> None:
        """Two flavors, an image, a shared network, and two hosts."""
        context = self.stamp.own_context()
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
        for number in (1, 2):
            description = HostDescription(
                name=f"node{number}", hypervisor_type="QEMU", hypervisor_version=7002022, vcpus=8, memory_mb=16384,
                disk_gb=100, host_ip="10.0.0.7",
            )  # fmt: skip
            host_id = f"{number}" * 8 + "-aaaa-4aaa-8aaa-" + f"{number}" * 12
            enrolled = host.enrol(None, host_id, description)
            await self.host_registry.execute(context, host.aggregate(description.name), lambda _, e=enrolled: e)
            self.ledger.apply(ledger.ProviderCreated(provider_id=host_id, name=description.name))
        await self.beat("compute/node1", "compute/node2", "conductor/control1")

    async def beat(self, *names: str) -> None:
        """Signs of life of processes and hosts, heard at once."""
        for name in names:
            await self.signs.beat(name, {})
        await until(lambda: all(self.life.last_seen(name) == self.clock.now() for name in names))

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

    async def change(self, server_id: str, decide_event: Any, request_id: str | None = None) -> Server:
        """Append an event of the conductor's or a host's."""
        known, _ = await self.repository.load(aggregate(server_id))
        action = known.action if known else None
        context = Context(request_id=request_id or (action.request_id if action else "req-none"))
        server, _ = await self.repository.execute(context, aggregate(server_id), decide_event)
        assert server is not None
        await self.project()
        return server

    async def advance(self, server_id: str) -> None:
        """Do what a conductor and a host would, until nothing is under way."""
        while True:
            server, _ = await self.repository.load(aggregate(server_id))
            assert server is not None
            step = next_step(server, self.clock.now())
            if step is None:
                return
            await self._do(server, step)

    async def _do(self, server: Server, step: Any) -> None:
        version = server.action.version if server.action else 0
        match step:
            case Place():
                placed = await self._placed(server)
                await self.change(server.id, lambda known: decide.placed(known, placed))
            case Command(kind=kind) if kind in DONE:
                await self.change(server.id, lambda s: DONE[kind](s, server.epoch, version))
            case Command(kind=kind) if kind in DONE_WITH_POWER:
                power = {"build": PowerState.RUNNING, "suspend": PowerState.SHUTDOWN}.get(kind, server.power_state)
                await self.change(server.id, lambda s: DONE_WITH_POWER[kind](s, server.epoch, version, power))
            case Command(kind="destroy") | FinishDelete():
                await self._release(server)
                await self.change(server.id, lambda s: decide.deleted(s, without_host=False))
            case _:
                raise AssertionError(step)

    async def _placed(self, server: Server) -> ServerPlaced:
        nics = []
        for index, wanted in enumerate(server.networks):
            found = self.registry.get(network.aggregate(wanted.network_id))
            port_id = self.stamp.ids.uuid()
            changes, _ = await self.registry.writer(network.aggregate(found.id)).submit(
                self.stamp.own_context(),
                lambda state, port=port_id, at=index, ip=wanted.fixed_ip: network.allocate(
                    state,
                    port_id=port,
                    server_id=server.id,
                    cell="cell1",
                    project_id=server.project_id,
                    index=at,
                    ip_address=ip,
                ),
            )
            nics.append(found.nic(changes[0]))
        hosts = self.services.fleet.all()
        chosen = next(host for host in hosts if server.requested_host in (None, host.name))
        return ServerPlaced(
            host=chosen.name, host_id=chosen.id, epoch=server.epoch + 1, availability_zone="nova",
            nics=tuple(nics),
        )  # fmt: skip

    async def _release(self, server: Server) -> None:
        for wanted in server.networks:
            await self.registry.writer(network.aggregate(wanted.network_id)).submit(
                self.stamp.own_context(), lambda state: network.release(state, server.id, 16, None)
            )
        await self.registry.writer(quota.aggregate(server.project_id)).submit(
            self.stamp.own_context(), lambda state: quota.release(state, server.id, None)
        )

    async def fail(self, server_id: str, message: str = "No valid host was found.") -> None:
        """End a creation in ERROR."""
        fault = Fault(code=500, message=message, details="for the administrator")
        await self.change(server_id, lambda server: decide.given_up(server, fault, {}))


def login(name: str, project: str | None = None, password: str | None = None) -> dict[str, Any]:
    """A request for a token."""
    home = {"root": "admin", "amy": "blue", "rob": "blue", "eve": "green", "host": "green"}
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
    readers = [asyncio.create_task(each.run()) for each in (made.registry, made.host_registry, made.life)]
    try:
        await made.registry.ready()
        await made.host_registry.ready()
        await made.found()
        yield made
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
