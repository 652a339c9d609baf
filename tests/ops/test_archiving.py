"""The projector keeps the archive, and holds the logs against it: on the real log and the real database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.nats import soundness
from adapters.nats.store import NatsEventStore
from domain.catalogue.keypair import KeypairCreated
from domain.errors import Unavailable
from domain.log.checkpoint import Entry
from domain.log.record import AggregateId
from domain.log.recovery import RecoveryDecided, ranges
from ops.embedded.nats import NatsProcess
from ops.log_lost import show
from ops.roles import archiving
from ops.settings import Settings
from projections.archive import Archive
from projections.postgres import connect
from tests.adapters.nats.damage import Damage, cut_the_end_without_an_index, flip_a_byte, put_back
from tests.aio import asynchronous
from tests.ops.parts import open_plane, projecting, settings_for, tell, until_projected
from tests.waiting import until

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

EVENT = KeypairCreated(name="k", key_type="ssh", public_key="x" * 1000, fingerprint="f")
COUNT = 150
"""Events of a cell's log: more than 64 KiB of them."""


@asynccontextmanager
async def _archived(settings: Settings) -> AsyncIterator[Archive]:
    async with await connect(settings.database.url, "test") as connection:
        archive = Archive(connection)
        await archive.open()
        yield archive


async def _in_archive(settings: Settings, cell: str) -> list[Entry]:
    async with _archived(settings) as archive:
        return [entry async for batch in archive.entries(cell) for entry in batch]


async def _until_archived(settings: Settings, entries: list[Entry]) -> None:
    async def is_whole() -> bool:
        return await _in_archive(settings, settings.cell) == entries

    await until(is_whole)


async def _in_log(store: NatsEventStore) -> list[Entry]:
    return [entry async for batch in store.entries(0, whole=False) for entry in batch]


async def _fill(settings: Settings, count: int = COUNT, first: int = 0) -> list[Entry]:
    """Both logs; returns the messages of the cell's when all of them are projected."""
    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        for number in range(first, first + count):
            await tell(plane, plane.store, AggregateId("keypair", f"k{number % 7}"), EVENT)
        await tell(plane, plane.api_store, AggregateId("keypair", f"k{first}"), EVENT)
        await until_projected(plane, queries)
        return await _in_log(plane.store)


@asynchronous
async def test_the_archive_goes_with_the_log(mortal: NatsProcess, database: str, tmp_path: Path) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    for first in (0, 20):
        entries = await _fill(settings, 20, first)
        assert await _in_archive(settings, settings.cell) == entries
        assert len(await _in_archive(settings, settings.api_cell)) == first // 20 + 1


@asynchronous
async def test_an_archive_that_is_behind_or_lost_is_filled_from_the_log(
    mortal: NatsProcess, database: str, tmp_path: Path
) -> None:
    """As in a state directory that is older than the archive; and in which a month was lost."""
    settings = settings_for(mortal.server, database, tmp_path)
    entries = await _fill(settings, 30)
    async with await connect(database, "test") as connection:
        for loss in (
            "DROP TABLE archive, archive_lost, archive_recoveries",
            "DELETE FROM archive WHERE position > 20",
            "DELETE FROM archive WHERE position BETWEEN 5 AND 20",
        ):
            await connection.execute(loss)
            async with projecting(settings):
                await _until_archived(settings, entries)
    assert await _in_archive(settings, settings.cell) == await _in_log_now(settings) == entries


async def _in_log_now(settings: Settings) -> list[Entry]:
    async with open_plane(settings, "test") as plane:
        return await _in_log(plane.store)


@asynchronous
async def test_nothing_is_recorded_before_the_log_was_held_against_the_archive(
    mortal: NatsProcess, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soundness, "HOLD_SECONDS", 0.2)
    settings = settings_for(mortal.server, database, tmp_path)
    place = AggregateId("keypair", "k")
    async with open_plane(settings, "test") as plane:
        with pytest.raises(Unavailable, match="held against its archive"):
            await tell(plane, plane.store, place, EVENT)
        async with projecting(settings):
            monkeypatch.setattr(soundness, "HOLD_SECONDS", 20.0)
            await tell(plane, plane.store, place, EVENT)
        mortal.stop()
        mortal.start()
        monkeypatch.setattr(soundness, "HOLD_SECONDS", 0.2)
        await until(lambda: not plane.store.soundness.is_held)
        with pytest.raises(Unavailable, match="held against its archive"):
            await tell(plane, plane.store, place, EVENT)
        async with projecting(settings):
            monkeypatch.setattr(soundness, "HOLD_SECONDS", 20.0)
            await tell(plane, plane.store, place, EVENT)


DAMAGES: dict[str, Damage] = {
    "a flipped byte": flip_a_byte,
    "a cut end": cut_the_end_without_an_index,
}


async def _damaged(settings: Settings, mortal: NatsProcess, damage: Damage) -> tuple[list[Entry], list[Entry]]:
    """What was in the log, and what is left of it."""
    entries = await _fill(settings)
    mortal.stop()
    damage(mortal.server.directory, settings.cell)
    mortal.start()
    async with open_plane(settings, "test") as plane:
        left = await _in_log(plane.store)
    assert left != entries
    return entries, left


async def _told(settings: Settings, words: str) -> str:
    """What the process of an API knows of the damage, once it knows it to the position."""
    async with open_plane(settings, "test") as plane:

        async def exactly() -> bool:
            await plane.store.soundness.check()
            return words in str(plane.store.soundness.damage)

        await until(exactly)
        with pytest.raises(Unavailable, match="lightcurve log restore"):
            await tell(plane, plane.store, AggregateId("keypair", "new"), EVENT)
        return str(plane.store.soundness.damage)


@pytest.mark.parametrize(("kind", "tail"), [*((kind, archiving.TAIL) for kind in DAMAGES), ("a flipped byte", 1)])
@asynchronous
async def test_what_is_lost_is_named_to_the_position(
    mortal: NatsProcess, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, tail: int
) -> None:
    """Also far from the end, where nobody comes by."""
    monkeypatch.setattr(archiving, "TAIL", tail)
    settings = settings_for(mortal.server, database, tmp_path)
    entries, left = await _damaged(settings, mortal, DAMAGES[kind])
    lost = sorted({entry.position for entry in entries} - {entry.position for entry in left})
    async with projecting(settings):
        told = await _told(settings, "The archive has")
    first, last = lost[0], lost[-1]
    assert (f"position {first}" if first == last else f"positions {first} to {last}") in told
    assert "The archive has it" in told or "The archive has all of them" in told
    assert await _in_archive(settings, settings.cell) == entries


@asynchronous
async def test_two_histories_are_told_and_neither_is_overwritten(
    mortal: NatsProcess, database: str, tmp_path: Path
) -> None:
    """An older copy was put back, and took events while nobody held it against anything."""
    settings = settings_for(mortal.server, database, tmp_path)
    await _fill(settings, 10)
    mortal.stop()
    (tmp_path / "copy").mkdir()
    mortal.server.directory.joinpath("jetstream").rename(tmp_path / "copy" / "jetstream")
    put_back(tmp_path / "copy")(_made(mortal), settings.cell)
    mortal.start()
    entries = await _fill(settings, 10, 10)
    mortal.stop()
    put_back(tmp_path / "copy")(mortal.server.directory, settings.cell)
    mortal.start()
    async with open_plane(settings, "test") as plane:
        plane.store.soundness.has_archive = False
        for number in range(12):
            await tell(plane, plane.store, AggregateId("keypair", f"other{number}"), EVENT)
    async with projecting(settings):
        told = await _told(settings, "something else than the archive")
    assert "positions 11 to 20" in told
    assert await _in_archive(settings, settings.cell) == entries


def _made(mortal: NatsProcess) -> Path:
    (mortal.server.directory / "jetstream").mkdir()
    return mortal.server.directory


@asynchronous
async def test_the_archive_follows_a_recovery_and_keeps_what_was_lost(
    mortal: NatsProcess, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    entries, left = await _damaged(settings, mortal, cut_the_end_without_an_index)
    async with open_plane(settings, "test") as plane:
        decided = RecoveryDecided(missing=(), end=len(left), known_end=len(entries))
        recorded = await plane.store.append_recovery(decided, plane.stamp(plane.stamp.own_context()))
    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        await tell(plane, plane.store, AggregateId("keypair", "new"), EVENT)
        await until_projected(plane, queries)
        await _until_archived(settings, await _in_log(plane.store))
    async with _archived(settings) as archive:
        ((recovery, cell, count, first, last),) = await archive.lost()
    assert (recovery, cell) == (recorded.meta.event_id, settings.cell)
    assert ranges(range(first, last + 1)) == ranges(range(len(left) + 1, len(entries) + 1))
    assert count == len(entries) - len(left)
    await show(settings, None, bodies=False)
    await show(settings, recovery, bodies=True)
    shown = capsys.readouterr().out
    assert f"{count} events of cell {cell}, of positions {first} to {last}" in shown
    assert shown.count(" keypair.created, ") == shown.count("x" * 1000) == count
