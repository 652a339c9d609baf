"""What a log has lost is put back from its archive: on the real log and the real database."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.nats.importing import Import
from adapters.nats.store import NatsEventStore
from domain.catalogue.keypair import KeypairCreated
from domain.errors import Invalid, Unavailable
from domain.log.checkpoint import Entry
from domain.log.record import AggregateId
from ops.checkpoint import checkpoints
from ops.embedded.nats import NatsProcess
from ops.log_restore import Restored, forget_staged, restore_logs
from ops.notary import FileNotary
from ops.roles import projector
from ops.settings import Settings
from ops.verify import verify_archive, verify_stream
from projections.archive import Archive
from projections.postgres import connect
from tests.adapters.nats.damage import Damage, cut_the_end, cut_the_end_without_an_index, flip_a_byte, put_back
from tests.aio import asynchronous
from tests.ops.parts import open_plane, projecting, running, settings_for, tell, until_projected

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

EVENT = KeypairCreated(name="k", key_type="ssh", public_key="x" * 1000, fingerprint="f")
COUNT = 150


async def _entries(store: NatsEventStore) -> list[Entry]:
    return [entry async for batch in store.entries(0, whole=False) for entry in batch]


async def _fill(settings: Settings, count: int = COUNT, first: int = 0) -> list[Entry]:
    """Events that are archived, with a checkpoint over most of them; returns the messages of the cell's log."""
    FileNotary(settings).ensure_key()
    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        for number in range(first, first + count):
            await tell(plane, plane.store, AggregateId("keypair", f"k{number % 7}"), EVENT)
            if number % 100 == 99:
                await checkpoints(plane, plane.store).sign()
        await until_projected(plane, queries)
        return await _entries(plane.store)


async def _goes_on(settings: Settings, before: list[Entry]) -> None:
    """The log is what it was, it verifies, and takes events again; so does its archive."""
    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        assert await _entries(plane.store) == before
        assert plane.store.soundness.damage is None
        await tell(plane, plane.store, AggregateId("keypair", "after"), EVENT)
        await until_projected(plane, queries)
        keys = FileNotary(settings).known_keys()
        assert (await verify_stream(plane.store, keys, [])).good
        async with await connect(settings.database.url, "test") as connection:
            archive = Archive(connection)
            await archive.open()
            assert (await verify_archive(archive, settings.cell, keys, [])).good
            assert archive.end(settings.cell) == await plane.store.last_position()


DAMAGES: dict[str, Damage] = {
    "a flipped byte": flip_a_byte,
    "a cut end": cut_the_end,
    "a cut end without an index": cut_the_end_without_an_index,
}


def _damage(mortal: NatsProcess, settings: Settings, damage: Damage) -> None:
    mortal.stop()
    damage(mortal.server.directory, settings.cell)
    mortal.start()


@pytest.mark.parametrize("kind", DAMAGES)
@asynchronous
async def test_what_is_lost_comes_back_to_the_byte(
    mortal: NatsProcess, database: str, tmp_path: Path, kind: str
) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    before = await _fill(settings)
    _damage(mortal, settings, DAMAGES[kind])
    cell, api = await restore_logs(settings)
    assert (cell.whole, api.whole) == (True, True)
    assert "Put back in cell cell1: position" in cell.words
    assert "is whole" in api.words
    forget_staged([cell, api])
    again = await restore_logs(settings)
    assert all("is whole" in each.words for each in again)
    await _goes_on(settings, before)


@asynchronous
async def test_an_older_copy_is_brought_up_to_date(mortal: NatsProcess, database: str, tmp_path: Path) -> None:
    """Both logs; of the one the copy has nothing at all."""
    settings = settings_for(mortal.server, database, tmp_path)
    mortal.stop()
    (tmp_path / "copy" / "jetstream").mkdir(parents=True)
    mortal.start()
    before = await _fill(settings)
    mortal.stop()
    put_back(tmp_path / "copy")(mortal.server.directory, settings.cell)
    mortal.start()
    restored = await restore_logs(settings)
    assert all(each.whole for each in restored)
    await _goes_on(settings, before)


class Died(Exception):
    """As if by a signal."""


@pytest.mark.parametrize("where", ["before the old stream is removed", "with half a stream", "before the end"])
@asynchronous
async def test_a_restore_that_dies_loses_nothing_and_is_gone_on_with(
    mortal: NatsProcess, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Also if the archive is not there any more: what it had is in the file."""
    settings = settings_for(mortal.server, database, tmp_path)
    before = await _fill(settings)
    _damage(mortal, settings, flip_a_byte)
    with monkeypatch.context() as patched:
        method = {"before the old stream is removed": "open", "with half a stream": "put", "before the end": "close"}
        patched.setattr(Import, method[where], _dies_in(getattr(Import, method[where]), where))
        with pytest.raises(Died):
            await restore_logs(settings)
    async with await connect(database, "test") as connection:
        await connection.execute("DELETE FROM archive")
    restored = await restore_logs(settings)
    assert all(each.whole for each in restored)
    await _goes_on_once_filled(settings, before)


def _dies_in(method: Any, where: str) -> Any:
    async def dying(self: Import, *arguments: Any, **named: Any) -> Any:
        if where == "before the old stream is removed" and not named.get("anew"):
            return await method(self, *arguments, **named)
        if where == "with half a stream":
            entries = list(arguments[0])
            await method(self, entries[: len(entries) // 2])
        raise Died

    return dying


async def _goes_on_once_filled(settings: Settings, before: list[Entry]) -> None:
    async with running(projector.run, settings), open_plane(settings, "test") as plane:
        assert await _entries(plane.store) == before
        await tell(plane, plane.store, AggregateId("keypair", "after"), EVENT)


@asynchronous
async def test_what_the_archive_lacks_stays_missing_and_is_told(
    mortal: NatsProcess, database: str, tmp_path: Path
) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    before = await _fill(settings)
    _damage(mortal, settings, cut_the_end)
    lost = len(before) - 3
    async with await connect(database, "test") as connection:
        await connection.execute("DELETE FROM archive WHERE cell = %s AND position = %s", (settings.cell, lost))
    cell, _ = await restore_logs(settings)
    assert not cell.whole
    assert f"it lacks an event: position {lost}. The archive has not got it." in cell.words
    async with open_plane(settings, "test") as plane:
        assert await _entries(plane.store) == [entry for entry in before if entry.position != lost]
        assert plane.store.soundness.damage


@asynchronous
async def test_a_log_that_went_on_in_another_way_is_left_as_it_is(
    mortal: NatsProcess, database: str, tmp_path: Path
) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    await _fill(settings)
    _damage(mortal, settings, cut_the_end_without_an_index)
    async with open_plane(settings, "test") as plane:
        plane.store.soundness.has_archive = False
        await tell(plane, plane.store, AggregateId("keypair", "other"), EVENT)
        there = await _entries(plane.store)
    cell, _ = await restore_logs(settings)
    assert not cell.whole
    assert "went on in another way" in cell.words
    assert "lightcurve recover" in cell.words
    async with open_plane(settings, "test") as plane:
        assert await _entries(plane.store) == there


async def _replaced(settings: Settings, position: int, body: bytes) -> AsyncIterator[None]:
    """As somebody who can write the database."""
    async with await connect(settings.database.url, "test") as connection:
        await connection.execute(
            "UPDATE archive SET body = %s WHERE cell = %s AND position = %s", (body, settings.cell, position)
        )
        yield


@asynchronous
async def test_where_both_differ_it_is_what_verifies(mortal: NatsProcess, database: str, tmp_path: Path) -> None:
    """A position of the archive is altered, and the log has lost another one; then both copies have lost the same."""
    settings = settings_for(mortal.server, database, tmp_path)
    before = await _fill(settings)
    _damage(mortal, settings, flip_a_byte)
    async for _ in _replaced(settings, 5, b"forged"):
        restored: list[Restored] = await restore_logs(settings)
    async with open_plane(settings, "test") as plane:
        assert await _entries(plane.store) == before
    assert "something else than the archive" in restored[0].words
    async for _ in _replaced(settings, 5, before[4].body):
        assert all(each.whole for each in await restore_logs(settings))


@asynchronous
async def test_nothing_is_put_back_that_was_not_recorded(mortal: NatsProcess, database: str, tmp_path: Path) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    before = await _fill(settings)
    _damage(mortal, settings, flip_a_byte)
    async with open_plane(settings, "test") as plane:
        left = await _entries(plane.store)
    (lost,) = {entry.position for entry in before} - {entry.position for entry in left}
    async for _ in _replaced(settings, lost, b"forged"):
        with pytest.raises(Invalid, match=f"position {lost} .*Nothing was changed"):
            await restore_logs(settings)
    async with open_plane(settings, "test") as plane:
        assert await _entries(plane.store) == left


@asynchronous
async def test_nobody_else_may_be_at_work(mortal: NatsProcess, database: str, tmp_path: Path) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        await until_projected(plane, queries)
        with pytest.raises(Unavailable, match="Stop all processes"):
            await restore_logs(settings)


@asynchronous
async def test_a_file_where_its_directory_should_be(mortal: NatsProcess, database: str, tmp_path: Path) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    await _fill(settings)
    mortal.stop()
    mortal.start()
    (tmp_path / "restore").write_text("in the way")
    with pytest.raises(Invalid, match=r"/restore is in the way: a directory is needed there"):
        await restore_logs(settings)
