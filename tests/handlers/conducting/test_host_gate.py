"""Whatever a host says, in every field of everything that it can say: it is refused, or everybody can digest it."""

import asyncio
import json
import math
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.commands import MemoryCommandBus
from adapters.memory.signs import MemoryLiveness
from adapters.memory.store import MemoryEventStore
from adapters.memory.vault import MemoryVault
from adapters.nats.connection import Message, header_block
from adapters.nats.liveness import NatsLiveness
from adapters.nats.reader import Item
from adapters.nats.serving import ERROR, raise_told
from adapters.system import SystemClock, SystemIds
from domain.errors import HostFailed, LightcurveError, Refused, Unavailable
from domain.guest import GuestState, HostDescription, PowerState
from domain.kinds import EVENTS
from domain.log.record import GENESIS, Recorded
from domain.placement.ledger import KIND as LEDGER
from domain.server.state import aggregate
from handlers.conducting.conducting import Conducting
from handlers.consoles.consoles import Consoles
from handlers.context import Stamp
from handlers.fleet.liveness import LifeSigns
from handlers.fleet.refusals import Refusals, refused_by_host
from handlers.messages import (
    ConsoleAddress,
    Enrolment,
    Failure,
    Observation,
    Outcome,
    Report,
    StillWanted,
    answer_decoder,
    clean,
    encode,
    read_report,
)
from projections.event_log import EventLogView
from projections.hosts import HostsView
from projections.instance_actions import InstanceActionsView
from projections.memory import MemoryRows
from projections.migrations import MigrationsView
from projections.servers import ServersView
from tests.aio import asynchronous
from tests.cell import Cell
from tests.domain.server.servers import BUILT, PLACED, REQUESTED, SERVER_ID, STOP

HOST = PLACED.host
REQUEST = f"req-{uuid4()}"
OF_SERVER: dict[str, Any] = {"request_id": REQUEST, "server_id": SERVER_ID, "epoch": 1, "version": 4}
DESCRIPTION = HostDescription(
    name=HOST,
    hypervisor_type="QEMU",
    hypervisor_version=7002022,
    vcpus=4,
    memory_mb=4096,
    disk_gb=40,
    cpu_info={"arch": "x86_64", "topology": {"cores": 4}, "features": ["sse"]},
)
REPORTS: tuple[Report, ...] = (
    Enrolment(request_id=REQUEST, host_id=str(uuid4()), description=DESCRIPTION),
    StillWanted(**OF_SERVER),
    Outcome(**OF_SERVER, kind="stop"),
    Outcome(**OF_SERVER, kind="destroy"),
    Failure(**OF_SERVER, kind="stop", message="It does not stop.", details="at all"),
    Observation(
        request_id=REQUEST,
        guests=(GuestState(server_id=SERVER_ID, epoch=1, power_state=PowerState.SHUTDOWN),),
        versions={SERVER_ID: 3},
    ),
)
HUGE = "a number of 5,000 digits"
HOSTILE: tuple[Any, ...] = (
    *("\0", "a\0b", "x" * 100_000, "\ud800", "req-1", f"{REQUEST}\n", "../..", "a.b>*", "", "é" * 3_000, "\x1b[2J"),
    *(2**31, 2**63, 2**70, -1, -(2**70), HUGE, 0.5, math.inf, -math.inf, math.nan, True, None),
    *([], [[[]]], {}, {"\0": "\0"}, {"a": {"b": {"c": 2**70}}}, {"a": "\ud800"}, ["x" * 1000] * 100),
)
PROJECTIONS = (ServersView(), InstanceActionsView(), MigrationsView(), HostsView(), EventLogView())


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a document; beside each place of a dictionary one for a key that is new."""
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
        found.append((*path, "\0new"))
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at a place."""
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = put(copy.get(path[0]) if isinstance(copy, dict) else copy[path[0]], path[1:], value)
    return copy


def written(document: Any) -> bytes:
    """As JSON that no encoder of ours would write."""
    return json.dumps(document).replace(json.dumps(HUGE), "9" * 5_000).encode()


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A report of any type with any value at any place; or no report at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(st.binary(max_size=200), st.sampled_from((b"[" * 100_000, b'{"report":' * 50_000))))
    document = msgspec.to_builtins(draw(st.sampled_from(REPORTS)))
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(places(document)))
        value = draw(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20), st.integers()))
        if isinstance(document, dict | list):
            document = put(document, place, value)
        if not isinstance(document, dict):
            break
    return written(document)


class Conducted:
    """A conductor's handling of reports, over a log in memory in which a server is being stopped."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.stamp = Stamp(clock, SystemIds())
        broker = Broker(clock)
        self.stores = {cell: MemoryEventStore(broker, cell, EventMapper(EVENTS)) for cell in ("cell1", "api")}
        self.refusals = Refusals()
        self.conducting = Conducting(
            store=self.stores["cell1"],
            api_store=self.stores["api"],
            bus=MemoryCommandBus(broker, "cell1"),
            liveness=MemoryLiveness(broker, "cell1"),
            vault=MemoryVault(broker, "cell1"),
            stamp=self.stamp,
            read_servers=Mock(),
            open_consoles=Mock(),
            refusals=self.refusals,
        )

    async def tell(self) -> None:
        tail = GENESIS
        for event in (REQUESTED, PLACED, BUILT, STOP):
            meta = self.stamp(self.stamp.own_context())
            tail = (await self.stores["cell1"].append(aggregate(SERVER_ID), event, meta, tail)).tail

    async def report(self, body: bytes, host: str = HOST) -> str | None:
        """What was refused."""
        answer = await self.conducting._reports.handle(host, body)
        return answer_decoder.decode(answer).refused

    async def log(self) -> list[Recorded]:
        found = []
        for store in self.stores.values():
            async for batch in store.follow(0):
                if not batch:
                    break
                found += batch
        return found

    async def is_digested(self) -> None:
        """Every event goes into every projection and every fold, and holds nothing that PostgreSQL cannot."""
        rows = MemoryRows(PROJECTIONS)
        log = await self.log()
        rows.apply(log)
        for recorded in log:
            assert_digestible(msgspec.to_builtins((recorded.event, recorded.meta)))
        ledger = LEDGER.evolve
        state = None
        for recorded in log:
            if recorded.aggregate.kind == "ledger":
                state = ledger(state, recorded.event, recorded.meta)


def assert_digestible(value: Any) -> None:
    if isinstance(value, str):
        assert "\0" not in value
        value.encode()
        assert len(value) <= 32_000
    elif isinstance(value, int):
        assert abs(value) < 2**63
    elif isinstance(value, float):
        assert math.isfinite(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            assert_digestible(key)
            assert_digestible(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            assert_digestible(inner)


@settings(max_examples=400)
@given(st.lists(bodies(), min_size=1, max_size=4))
def test_nothing_that_a_host_reports_harms_anybody(said: list[bytes]) -> None:
    async def body() -> None:
        here = Conducted()
        await here.tell()
        refused = [await here.report(body) for body in said]
        assert here.refusals.of(HOST) >= len([reason for reason in refused if reason])
        await here.is_digested()

    asyncio.run(body())


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: type(report).__name__)
@asynchronous
async def test_each_field_is_guarded(report: Report) -> None:
    document = msgspec.to_builtins(report)
    for place in places(document):
        for value in HOSTILE:
            here = Conducted()
            await here.tell()
            await here.report(written(put(document, place, value)))
            await here.is_digested()


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: type(report).__name__)
@asynchronous
async def test_what_honest_hosts_say_passes(report: Report) -> None:
    here = Conducted()
    await here.tell()
    assert await here.report(encode(report)) is None
    assert here.refusals.of(HOST) == 0


@asynchronous
async def test_a_host_is_not_another_by_its_name_or_its_id() -> None:
    here = Conducted()
    first = REPORTS[0]
    assert isinstance(first, Enrolment)
    assert await here.report(encode(first)) is None
    before = await here.log()
    as_other = msgspec.structs.replace(DESCRIPTION, vcpus=2)
    assert await here.report(encode(msgspec.structs.replace(first, description=as_other)), "node2")
    renamed = msgspec.structs.replace(first, description=msgspec.structs.replace(as_other, name="node2"))
    for recorded in before:
        if recorded.aggregate.kind == "host":
            here.conducting._host_registry._listeners[0](recorded)
    assert await here.report(encode(renamed), "node2")
    assert await here.log() == before
    assert here.refusals.of("node2") == 2


@asynchronous
async def test_what_changes_without_end_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.conducting.reports.CHANGES_AT_ONCE", 3)
    here = Conducted()
    await here.tell()
    before = len(await here.log())
    stopped = Outcome(**OF_SERVER, kind="stop")
    await here.report(encode(stopped))
    for number in range(20):
        power = PowerState.RUNNING if number % 2 == 0 else PowerState.SHUTDOWN
        guest = GuestState(server_id=SERVER_ID, epoch=1, power_state=power)
        await here.report(encode(Observation(request_id=REQUEST, guests=(guest,))))
    assert len(await here.log()) == before + 1 + 3
    assert here.refusals.of(HOST) > 0


@given(st.text(max_size=100), st.integers(0, 50))
def test_what_is_cleaned_passes(text: str, limit: int) -> None:
    message = clean(text + "\0\ud800", limit)
    read_report(encode(Failure(**OF_SERVER, kind="stop", message=message)))


@given(
    st.one_of(st.sampled_from(("alive.cell1.compute.node1", "alive.cell1.compute.=FF")), st.text(max_size=30)),
    st.one_of(st.binary(max_size=100), st.sampled_from(HOSTILE).map(lambda value: written({"facts": value}))),
)
def test_signs_of_life_that_cannot_be_read(subject: str, data: bytes) -> None:
    refusals = Refusals()
    life = LifeSigns(Mock(), SystemClock())
    reply = "$JS.ACK.LIVENESS_cell1.c.1.7.7.1790000000000000000.0"
    beat = NatsLiveness(Mock(), "cell1", refusals)._read(Item(7, Message(subject, reply, data, None)))
    if beat is None:
        assert refusals.facts["refused"]
    else:
        life._take(beat)
        assert life.alive(beat.name)
        refused_by_host(beat.facts)
    assert len(msgspec.json.encode(refusals.facts)) < 1000


@given(st.one_of(st.binary(max_size=100), st.sampled_from(HOSTILE).map(written)), st.binary(max_size=50))
def test_answers_that_cannot_be_read(data: bytes, headers: bytes) -> None:
    for raw in (b"NATS/1.0\r\n" + headers + b"\r\n\r\n", header_block({ERROR: HostFailed.code})):
        try:
            raise_told(Message("a", "", data, raw))
        except LightcurveError as error:
            assert isinstance(error, Unavailable | HostFailed)  # noqa: PT017


CONSOLE = msgspec.to_builtins(ConsoleAddress(host="127.0.0.1", port=5900, tls_port=5901, greeting="hi\n"))


ELSEWHERE = (
    *(written(put(CONSOLE, place, value)) for place in places(CONSOLE) for value in HOSTILE if value is not None),
    *(written(CONSOLE | {"host": host}) for host in ("10.0.0.5", "127.0.0.01", "::1", "localhost")),
    *(written(CONSOLE | {"port": port}) for port in (22, 5432, 5899, 65536)),
    written(CONSOLE | {"tls_port": 443}),
    b"\xff",
)


@asynchronous
async def test_a_console_is_at_its_host_only() -> None:
    cell = Cell()
    server, _ = await cell._servers.load(aggregate(await cell.server()))
    assert server
    for answer in ELSEWHERE:
        refusals = Refusals()
        consoles = Consoles(cell.store, Mock(ask=AsyncMock(return_value=answer)), cell.stamp, refusals=refusals)
        try:
            found = await consoles.address(server, "novnc")
        except Unavailable:
            assert refusals.of(HOST) == 1
        else:
            assert found.host == "127.0.0.1"
            assert {found.port, found.tls_port} <= {0, 5900, 5901}


@asynchronous
async def test_a_console_where_the_host_is() -> None:
    cell = Cell()
    server, _ = await cell._servers.load(aggregate(await cell.server()))
    assert server
    bus = Mock(ask=AsyncMock(return_value=written(CONSOLE)))
    assert (await Consoles(cell.store, bus, cell.stamp).address(server, "novnc")).tls_port == 5901
    bus.ask.return_value = b"null"
    with pytest.raises(Refused):
        await Consoles(cell.store, bus, cell.stamp).address(server, "novnc")
