"""One host of three is an enemy: it has its own credential, and an agent that tries everything. The other two, and
their servers, notice nothing; each attempt is refused by NATS, or refused and counted by those who judge it."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, Self
from uuid import NAMESPACE_DNS, uuid5

import msgspec
import pytest

from adapters.mapper import EventMapper
from adapters.metadata import signing
from adapters.metadata.pages import Pages
from adapters.metadata.service import MetadataService
from adapters.metadata.vendor_data import VendorData
from adapters.nats.commands import NatsCommandBus
from adapters.nats.connection import Connection, NoAnswer, connect
from adapters.nats.liveness import NatsLiveness
from adapters.nats.store import NatsEventStore
from adapters.nats.streams import ensure_cell
from adapters.nats.vault import NatsVault
from adapters.simulated import SimulatedHypervisor
from adapters.system import SystemClock, SystemIds
from domain import network, quota
from domain.errors import LightcurveError, Unavailable
from domain.flavor import Flavor
from domain.guest import GuestState, PowerState
from domain.kinds import EVENTS
from domain.network import NetworkCreated
from domain.quota import Limits
from domain.record import Recorded
from domain.server.state import Server
from handlers.agent import Agent
from handlers.conducting import Conducting
from handlers.consoles import Consoles
from handlers.context import Context, Stamp
from handlers.guest_secrets import Secrets
from handlers.liveness import LifeSigns
from handlers.messages import ConsoleAddress, Enrolment, Failure, Observation, Outcome, encode
from handlers.metadata import Passwords, ServerFacts
from handlers.ports import Vault
from handlers.refusals import Refusals
from handlers.registry import Registry
from handlers.server_requests import NewServer
from handlers.servers import Servers
from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from ops.embedded.nats_accounts import CONTROL
from ops.host_keys import HostKeys
from projections.event_log import EventLog
from projections.hosts import TABLE as HOSTS
from projections.hosts import Hosts
from projections.instance_actions import InstanceActions
from projections.memory import MemoryRows
from projections.servers import TABLE as SERVERS
from projections.servers import Servers as ServersProjection
from projections.servers import decoder
from tests.adapters.rest.client import Client
from tests.aio import asynchronous
from tests.handlers.test_host_gate import HOSTILE, assert_digestible, places, put, written
from tests.waiting import until

pytestmark = pytest.mark.nats

CELL, API, PROJECT = "cell1", "api", "project"
NETWORK = "00000000-0000-4000-8000-0000000000aa"
FLAVOR = Flavor(id="1", name="tiny", vcpus=1, ram_mb=256, disk_gb=1)
GOOD, EVIL = ("good1", "good2"), "evil"
FLOOD = 3_000
CLOCK = SystemClock()
STAMP = Stamp(CLOCK, SystemIds())


def host_id(host: str) -> str:
    return str(uuid5(NAMESPACE_DNS, host))


class Nobody:
    """There are no consoles."""

    async def console_proxies(self) -> list[str]:
        return []

    async def consoles_of(self, _proxy: str) -> list[Any]:
        return []


class Cloud:
    """The control plane and its hosts, each with a connection of its own."""

    def __init__(self, server: EmbeddedNats) -> None:
        self.nats = server
        self.rows = MemoryRows((ServersProjection(), InstanceActions(), Hosts(), EventLog()))
        self.log: list[Recorded] = []
        self.refusals = Refusals()
        self.connections: list[Connection] = []
        self.hypervisors = {
            host: SimulatedHypervisor(host, CLOCK, Random(1), vcpus=64, memory_mb=65536, disk_gb=1000)
            for host in (*GOOD, EVIL)
        }

    async def __aenter__(self) -> Self:
        self.control = await self.connection()
        for cell in (CELL, API):
            await ensure_cell(self.control, cell)
        self.store, self.api_store = self._store(CELL), self._store(API)
        self.vault: Vault = NatsVault(self.control, CELL)
        self.bus = NatsCommandBus(self.control, CELL, refusals=self.refusals)
        self.life = LifeSigns(NatsLiveness(await self.connection(), CELL, self.refusals), CLOCK)
        registry = Registry(self.api_store, STAMP, [network.KIND, quota.KIND])
        created = NetworkCreated(
            network_id=NETWORK, name="net", project_id=PROJECT, subnet_id="s", cidr="10.0.0.0/24"
        )
        await registry.execute(context(), network.aggregate(NETWORK), lambda state: network.create(state, created))
        self.servers = Servers(self.store, registry, self.vault, STAMP, Limits(instances=-1, cores=-1, ram_mb=-1))
        self.conducting = Conducting(
            store=self.store,
            api_store=self.api_store,
            bus=self.bus,
            liveness=NatsLiveness(self.control, CELL, self.refusals),
            vault=self.vault,
            stamp=STAMP,
            read_servers=self,
            open_consoles=Nobody(),
            refusals=self.refusals,
        )
        works = [self.conducting.run("c", lambda: None), self.life.run(), registry.run(), self._project(CELL)]
        works += [(await self._agent(host)).run() for host in self.hypervisors]
        self.tasks = [asyncio.ensure_future(work) for work in works]
        await until(lambda: all(self.life.host_up(host) for host in self.hypervisors))
        return self

    async def __aexit__(self, *_: object) -> None:
        ended = [task for task in self.tasks if task.done()]
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for connection in self.connections:
            await connection.close()
        assert not ended, "nothing of the control plane, and no agent, ended"

    async def connection(self, host: str | None = None) -> Connection:
        key = self.nats.hosts.get(host) if host else None
        made = await connect(
            self.nats.url, host or CONTROL, key.credentials if key else self.nats.credentials(CONTROL)
        )
        self.connections.append(made)
        return made

    def _store(self, cell: str) -> NatsEventStore:
        return NatsEventStore(self.control, cell, EventMapper(EVENTS))

    async def _agent(self, host: str) -> Agent:
        connection = await self.connection(host)
        bus, liveness = NatsCommandBus(connection, CELL), NatsLiveness(connection, CELL)
        return Agent({host: self.hypervisors[host]}, {host: host_id(host)}, bus, liveness, STAMP)

    async def _project(self, cell: str) -> None:
        async for batch in self.store.follow(0):
            self.rows.apply(batch)
            self.log += batch

    async def living(self, server_ids: Sequence[str]) -> tuple[set[str], int]:
        return set(server_ids), 1 << 60

    async def unfinished(self) -> tuple[list[str], int]:
        return [], 0

    async def create(self, host: str) -> str:
        """A server on a host, once it is there."""
        new = NewServer(name="vm", flavor=FLAVOR, image=None, host=host, secrets=Secrets(user_data="c2VjcmV0"))
        (accepted,) = await self.servers.create(context(), new)
        await until(lambda: self.state(accepted.server_id) == ("active", None))
        return accepted.server_id

    def offers(self) -> list[Any]:
        """What the good hosts say of themselves, and offer."""
        described = [row.state for row in self.rows.all(HOSTS) if row.name in GOOD]
        providers = self.conducting._feed.writer.state.providers
        return [described, *(providers[host_id(host)].inventories for host in GOOD)]

    def server(self, server_id: str) -> Server | None:
        row = self.rows.get(SERVERS, (server_id,))
        return decoder.decode(row.state) if row else None

    def state(self, server_id: str) -> tuple[str, str | None]:
        server = self.server(server_id)
        return (server.vm_state, server.task_state) if server else ("", None)


def context() -> Context:
    return Context(request_id=f"req-{STAMP.ids.uuid()}", user_id="user", project_id=PROJECT, roles=("member",))


@pytest.fixture
def cloud(tmp_path: Any) -> Iterator[Cloud]:
    keys = HostKeys(tmp_path / "hosts")
    for host in (*GOOD, EVIL):
        keys.add(host)
    process = NatsProcess(EmbeddedNats(tmp_path / "nats", free_port(), hosts=keys))
    process.start()
    yield Cloud(process.server)
    process.kill()


@asynccontextmanager
async def unharmed(cloud: Cloud, victims: list[str]) -> AsyncIterator[None]:
    """Nothing happens to the victims meanwhile, every event can be digested, and the hosts live on."""
    before = [cloud.server(victim) for victim in victims]
    guests = {host: await cloud.hypervisors[host].guests() for host in GOOD}
    offers = cloud.offers()
    end = len(cloud.log)
    yield
    assert [cloud.server(victim) for victim in victims] == before
    assert {host: await cloud.hypervisors[host].guests() for host in GOOD} == guests
    assert cloud.offers() == offers
    assert all(cloud.life.host_up(host) for host in GOOD)
    assert not [name for name in cloud.life.beats if name.rpartition("/")[2] not in (*GOOD, EVIL, "c")]
    for recorded in cloud.log[end:]:
        assert_digestible(msgspec.to_builtins((recorded.event, recorded.meta)))


def reports_about(server_id: str, epoch: int, version: int) -> list[Any]:
    """What a host may say of a server, falsely."""
    known: dict[str, Any] = {
        "request_id": f"req-{STAMP.ids.uuid()}", "server_id": server_id, "epoch": epoch, "version": version,
    }  # fmt: skip
    guest = GuestState(server_id=server_id, epoch=epoch, power_state=PowerState.SHUTDOWN)
    return [
        *(Outcome(**known, kind=kind) for kind in ("build", "stop", "start", "destroy", "rebuild", "pause")),
        Failure(**known, kind="build", message="no"),
        Observation(request_id=known["request_id"], guests=(guest,), versions={server_id: version}),
    ]


@asynchronous
async def test_an_enemy_among_the_hosts(cloud: Cloud) -> None:
    async with cloud:
        victims = [await cloud.create(host) for host in GOOD]
        own = await cloud.create(EVIL)
        evil = await cloud.connection(EVIL)
        async with unharmed(cloud, victims):
            await _speak_for_others(cloud, evil, victims)
            await _lie_about_itself(cloud, evil)
            await _lie_about_servers(cloud, evil, victims)
            await _answer_falsely(cloud, evil, own)
            await _ask_for_secrets(cloud, victims, own)
        async with unharmed(cloud, victims):
            await _flood(cloud, evil)
        assert cloud.refusals.of(EVIL) > 0
        assert {cloud.refusals.of(host) for host in GOOD} == {0}
        # And the enemy itself is still a host: what it says rightly is taken.
        assert cloud.life.host_up(EVIL)
        await cloud.create(EVIL)


async def _speak_for_others(cloud: Cloud, evil: Connection, victims: list[str]) -> None:
    """NATS lets none of it through."""
    commands = f"COMMANDS_{CELL}"
    silent = [f"cell.{CELL}.{kind}.{host}" for kind in ("report", "receiver", "question") for host in GOOD]
    silent += [f"$JS.API.CONSUMER.MSG.NEXT.{commands}.{host}" for host in GOOD]
    silent += [f"$JS.API.CONSUMER.CREATE.{commands}.x", f"$JS.API.STREAM.INFO.CELL_{CELL}"]
    silent += [f"$JS.API.DIRECT.GET.KV_KEYS_{CELL}", f"$KV.KEYS_{CELL}.{victims[0]}"]
    silent += [
        f"cell.{CELL}.event.server.{victims[0]}",
        f"cell.{CELL}.command.{GOOD[0]}",
        f"cell.{API}.report.{EVIL}",
    ]
    answers = await asyncio.gather(
        *(evil.call(subject, b'["good1"]', timeout=0.5) for subject in silent), return_exceptions=True
    )
    # Its own account has no JetStream, which says so.
    assert all(isinstance(answer, NoAnswer) or b'"error"' in answer.data for answer in answers)
    for subject in (*(f"alive.{CELL}.compute.{host}" for host in GOOD), f"alive.{CELL}.conductor.c"):
        evil.send(subject, b"x")
        evil.send(subject, b'{"facts":{}}')
    for number in range(1, 50):
        evil.send(f"$JS.ACK.{commands}.{GOOD[0]}.1.{number}.{number}.1.0", b"+TERM")
    refused = cloud.refusals.of(EVIL)
    for hosts in (["good1"], ["evil", "good1"], ["*"], [], ["sim-0001", "good1"]):
        assert (await evil.call(f"cell.{CELL}.receiver.{EVIL}", encode(hosts))).headers()
    assert cloud.refusals.of(EVIL) == refused + 5


async def _lie_about_itself(cloud: Cloud, evil: Connection) -> None:
    """All of it is refused and counted."""
    report = f"cell.{CELL}.report.{EVIL}"
    description = await cloud.hypervisors[EVIL].describe()
    replace = msgspec.structs.replace
    honest = Enrolment(request_id=f"req-{STAMP.ids.uuid()}", host_id=host_id(EVIL), description=description)
    lies = [
        replace(honest, description=replace(description, name=GOOD[0])),
        replace(honest, host_id=host_id(GOOD[0])),
        replace(honest, host_id=STAMP.ids.uuid()),
        replace(honest, request_id="x" * 4_000),
        *(replace(honest, description=replace(description, vcpus=number)) for number in (0, -1, 2**31, 2**62)),
        replace(honest, description=replace(description, host_ip="somewhere")),
    ]
    bodies = [encode(lie) for lie in lies]
    document = msgspec.to_builtins(honest)
    bodies += [
        written(put(document, place, value))
        for place in places(document)
        for value in HOSTILE
        if value is not True and value is not None and value not in ({}, [], "", 0.5) and place[-1:] != ("\0new",)
        and not (isinstance(value, float) and math.isnan(value))
    ]  # fmt: skip
    refused = cloud.refusals.of(EVIL)
    for body in bodies:
        await evil.call(report, body)
    assert cloud.refusals.of(EVIL) > refused + len(lies)
    own_sign = f"alive.{CELL}.compute.{EVIL}"
    for sign in (b"", b"x", b"\0" * 1000, b"[" * 60_000, b"x" * 100_000, written({"facts": {"\0": "\ud800"}})):
        evil.send(own_sign, sign)
    await until(lambda: cloud.life.host_up(EVIL))


async def _lie_about_servers(cloud: Cloud, evil: Connection, victims: list[str]) -> None:
    """Nothing that it says of others' servers comes to anything."""
    for victim in victims:
        server = cloud.server(victim)
        assert server
        for version in (server.version, server.last_action, 0, 2**31 - 1):
            for epoch in (server.epoch, server.epoch + 1, 0):
                for lie in reports_about(victim, epoch, version):
                    await evil.call(f"cell.{CELL}.report.{EVIL}", encode(lie))


async def _answer_falsely(cloud: Cloud, evil: Connection, own: str) -> None:
    """A console proxy goes nowhere else, and whoever asks gets an error that we foresee."""
    consoles = Consoles(cloud.store, cloud.bus, STAMP, refusals=cloud.refusals)
    server = cloud.server(own)
    assert server
    refused = cloud.refusals.of(EVIL)
    answers = [
        encode(ConsoleAddress(host="10.0.0.5", port=5900)),
        encode(ConsoleAddress(host="127.0.0.1", port=22)),
        b"\xff",
        b"[" * 100_000,
        bytes(5 << 20),
    ]
    for answer in answers:
        tap = await evil.tap(f"cell.{CELL}.question.{EVIL}", lambda m, a=answer: evil.send(m.reply, a))
        # The honest half of the agent answers, too, that there is no console: whoever is first is heard.
        with suppress(LightcurveError):
            address = await consoles.address(server, "novnc")
            assert (address.host, address.port >= 5900) == ("127.0.0.1", True)
        evil.untap(tap)
    assert cloud.refusals.of(EVIL) >= refused
    with pytest.raises(Unavailable):
        await cloud.bus.ask("nobody", b"{}", timeout=0.3)


async def _ask_for_secrets(cloud: Cloud, victims: list[str], own: str) -> None:
    """The metadata service tells it of its own guests only."""
    facts = ServerFacts(cloud.store, cloud.vault, STAMP)
    passwords = Passwords(cloud.store, cloud.vault, STAMP)
    service = MetadataService(
        facts, passwords, Pages(facts, passwords, VendorData()), cloud.nats.hosts.secret, None, STAMP
    )
    client = Client(service)
    secret = cloud.nats.hosts.secret(EVIL)
    assert secret

    async def drive(server_id: str, host: str) -> int:
        proof = signing.proof(secret, host, signing.CONFIG_DRIVE + server_id)
        headers = {"X-Instance-ID": server_id} | proof
        return (await client.request("GET", signing.CONFIG_DRIVE_PATH, headers=headers)).status

    assert [await drive(victim, host) for victim in victims for host in (EVIL, *GOOD, "")] == [404] * 8
    assert await drive(own, EVIL) == 200


async def _flood(cloud: Cloud, evil: Connection) -> None:
    """Others are served meanwhile as if it were not there."""
    flooding = True

    async def flood() -> None:
        while flooding:
            for number in range(FLOOD):
                evil.send(f"cell.{CELL}.report.{EVIL}", b"x" * (1 + number % 64_000))
                evil.send(f"alive.{CELL}.compute.{EVIL}", b"{}")
            await asyncio.sleep(0)
            with suppress(NoAnswer):
                await evil.call(f"cell.{CELL}.report.{EVIL}", b"x", timeout=1.0)

    work = asyncio.ensure_future(flood())
    try:
        for host in GOOD:
            server_id = await cloud.create(host)
            await cloud.servers.stop(context(), server_id)
            await until(lambda server_id=server_id: cloud.state(server_id) == ("stopped", None))
            await cloud.servers.delete(context(), server_id)
            await until(lambda server_id=server_id: cloud.state(server_id)[0] == "deleted")
    finally:
        flooding = False
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
