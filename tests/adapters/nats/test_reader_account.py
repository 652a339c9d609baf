"""Who may read the logs reads them, and does nothing else, whatever it sends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.nats.connection import ApiError, Connection, NoAnswer, connect
from adapters.nats.log import Log
from adapters.nats.names import Names
from adapters.nats.store import NatsEventStore
from domain.errors import Invalid, Refused, Unavailable
from domain.log.record import GENESIS
from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from ops.host_keys import HostKeys
from ops.log_readers import LogReaders, admit
from tests.aio import asynchronous
from tests.contract.test_command_bus import HOST
from tests.contract.test_event_store import append_some
from tests.contract.worlds import MAPPER, Happened, NatsWorld, aggregate, meta
from tests.waiting import until

pytestmark = pytest.mark.nats

CELL = "cell1"
NAMES = Names(CELL)


@pytest.fixture
def readers(tmp_path: Path) -> LogReaders:
    return LogReaders(tmp_path / "readers")


@pytest.fixture
def server(tmp_path: Path, readers: LogReaders) -> Iterator[EmbeddedNats]:
    keys = HostKeys(tmp_path / "hosts")
    keys.add(HOST)
    nats = EmbeddedNats(
        tmp_path / "nats", free_port(), hosts=keys, readers=readers, read_cells=(CELL, "api")
    )  # fmt: skip
    process = NatsProcess(nats)
    process.start()
    yield nats
    process.kill()


async def reader(server: EmbeddedNats, readers: LogReaders) -> Connection:
    made = readers.add("audit")
    assert await admit(server, made, [CELL])
    return await connect(server.url, "test reader", made)


@asynchronous
async def test_it_reads_what_was_and_hears_what_comes(server: EmbeddedNats, readers: LogReaders) -> None:
    async with NatsWorld(server, cell=CELL) as world:
        store = await world.store()
        recorded = await append_some(store, aggregate(), 3)
        connection = await reader(server, readers)
        log, heard = Log(connection, NAMES), []
        await connection.tap(NAMES.every_event, lambda message: heard.append(message.data))
        page, more = await log.page(NAMES.every_event, 1, 2)
        assert ([int(each.headers()["Nats-Sequence"]) for each in page], more) == ([1, 2], True)
        last = await log.last(NAMES.event(aggregate()))
        assert last is not None
        assert last.headers()["ce-id"] == recorded[-1].meta.event_id
        await store.append(aggregate("two"), Happened(what="new"), meta(event_id="e-new"), GENESIS)
        await until(lambda: heard)
        assert b"new" in heard[0]
        await connection.close()


@asynchronous
async def test_it_changes_nothing(server: EmbeddedNats, readers: LogReaders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.nats.breaker.PATIENCE_SECONDS", 0.3)
    async with NatsWorld(server, cell=CELL) as world:
        store, control = await world.store(), await world.connection()
        await append_some(store, aggregate(), 2)
        vault = await world.vault()
        await vault.seal("s1", b"secret")
        evil = await reader(server, readers)
        with pytest.raises(Unavailable):
            await NatsEventStore(evil, CELL, MAPPER).append(aggregate("x"), Happened(), meta(), GENESIS)
        consumer = {"stream_name": NAMES.events, "config": {"deliver_subject": NAMES.command(HOST), "name": "c"}}
        for name, body in (
            (f"STREAM.DELETE.{NAMES.events}", {}),
            (f"STREAM.PURGE.{NAMES.events}", {}),
            (f"STREAM.UPDATE.{NAMES.events}", {"name": NAMES.events, "deny_delete": False}),
            (f"STREAM.MSG.DELETE.{NAMES.events}", {"seq": 1}),
            (f"STREAM.MSG.GET.{NAMES.keys}", {"seq": 1}),
            (f"CONSUMER.CREATE.{NAMES.events}.c", consumer),
            (f"CONSUMER.MSG.NEXT.{NAMES.commands}.{HOST}", {}),
            ("STREAM.CREATE.MORE", {"name": "MORE", "subjects": ["more"]}),
            (f"STREAM.INFO.{NAMES.keys}", {}),
        ):
            with pytest.raises((NoAnswer, ApiError)):
                await evil.api(name, body, 0.3)
        with pytest.raises(NoAnswer):
            await evil.call(f"$JS.API.DIRECT.GET.{NAMES.keys}.{NAMES.key('s1')}", timeout=0.3)
        for place in (
            NAMES.event(aggregate("forged")),
            NAMES.command(HOST),
            NAMES.report(HOST),
            NAMES.alive("conductor/a"),
            NAMES.key("s1"),
        ):
            evil.send(place, b"forged")
            for api in (f"DIRECT.GET.{NAMES.events}", f"DIRECT.GET.{NAMES.events}.{NAMES.event(aggregate())}"):
                evil.send(f"$JS.API.{api}", b'{"seq":1}', reply=place)
        # What was sent before has been worked through once this is answered.
        await evil.call(f"$JS.API.DIRECT.GET.{NAMES.events}", b'{"seq":1}')
        assert await store.last_position() == 2
        assert (await control.api(f"STREAM.INFO.{NAMES.commands}"))["state"]["last_seq"] == 0
        assert (await control.api(f"STREAM.INFO.{NAMES.keys}"))["state"]["last_seq"] == 1
        assert (await control.api(f"STREAM.INFO.{NAMES.liveness}"))["state"]["last_seq"] == 0
        await evil.close()


@asynchronous
async def test_one_that_is_removed_reads_no_more(server: EmbeddedNats, readers: LogReaders) -> None:
    async with NatsWorld(server, cell=CELL):
        connection = await reader(server, readers)
        with pytest.raises(Refused):
            readers.add("audit")
        readers.remove("audit")
        server.reload()
        await until(lambda: not connection.is_connected)
        await connection.close()
        with pytest.raises(Refused):
            readers.remove("audit")
        for name in ("", "../x", "A", "a.b", "x" * 64):
            with pytest.raises(Invalid):
                readers.add(name)
