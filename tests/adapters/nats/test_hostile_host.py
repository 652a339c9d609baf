"""One host of three is an enemy: it has its own credential, and an agent that tries everything. The other two, and
their servers, notice nothing; each attempt is refused by NATS, or refused and counted by those who judge it."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

from adapters.metadata import signing
from adapters.metadata.pages import Pages
from adapters.metadata.service import MetadataService
from adapters.metadata.vendor_data import VendorData
from adapters.nats.connection import Connection, NoAnswer
from domain.errors import LightcurveError, Unavailable
from domain.guest import GuestState, PowerState
from domain.server.actions.power import STOP
from handlers.consoles.consoles import Consoles
from handlers.messages import ConsoleAddress, Enrolment, Failure, Observation, Outcome, encode
from handlers.metadata import Passwords, ServerFacts
from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from ops.host_keys import HostKeys
from tests.adapters.nats.cloud import API, CELL, EVIL, GOOD, STAMP, Cloud, context, host_id
from tests.adapters.rest.client import Client
from tests.aio import asynchronous
from tests.handlers.conducting.test_host_gate import HOSTILE, assert_digestible, places, put, written
from tests.waiting import until

pytestmark = pytest.mark.nats

FLOOD = 3_000


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
    passwords = Passwords(cloud.cells)
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
            await cloud.servers.act(context(), server_id, STOP)
            await until(lambda server_id=server_id: cloud.state(server_id) == ("stopped", None))
            await cloud.servers.delete(context(), server_id)
            await until(lambda server_id=server_id: cloud.state(server_id)[0] == "deleted")
    finally:
        flooding = False
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
