"""A server whose disk is full takes no events until it is started again, and does not say so."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.nats import breaker
from domain.errors import Unavailable
from domain.log.record import GENESIS
from handlers.ports import EventStore
from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from tests.aio import asynchronous
from tests.contract.worlds import Happened, NatsWorld, aggregate, meta
from tests.waiting import until

pytestmark = pytest.mark.nats

LONG = "x" * 500_000
FOR_EVER = 1e6


@pytest.fixture
def small(tmp_path: Path) -> Iterator[NatsProcess]:
    """A server with a file system of its own."""
    disk = tmp_path / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
    process = NatsProcess(EmbeddedNats(disk / "nats", free_port()))
    try:
        process.start()
        yield process
        process.kill()
    finally:
        subprocess.run(["umount", disk], check=True)


async def _append(store: EventStore, name: str, what: str = "") -> None:
    await store.append(aggregate(name), Happened(what=what), meta(), GENESIS)


async def _fill(store: EventStore) -> None:
    for number in range(1000):
        await _append(store, f"filling-{number}", LONG)


async def _is_taken(store: EventStore) -> bool:
    try:
        await _append(store, "after")
    except Unavailable:  # it has not come back yet
        return False
    return True


@asynchronous
async def test_one_waits_for_a_silent_log_and_the_others_are_told(
    small: NatsProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "PATIENCE_SECONDS", 0.5)
    # No trial is due, however slow the machine is.
    monkeypatch.setattr(breaker, "TRIAL_SECONDS", FOR_EVER)
    async with asyncio.timeout(60), NatsWorld(small.server) as world:
        store = await world.store()
        spare = small.server.directory / "spare"
        spare.write_bytes(bytes(20 << 20))
        with pytest.raises(Unavailable) as waited:
            await _fill(store)
        assert waited.value.retry_after
        # From now on whoever waited would wait for ever.
        monkeypatch.setattr(breaker, "PATIENCE_SECONDS", FOR_EVER)
        with pytest.raises(breaker.Silent) as told:
            await _append(store, "next")
        assert told.value.retry_after
        assert await store.load(aggregate("next")) == []
        monkeypatch.undo()
        small.kill()
        spare.unlink()
        await asyncio.to_thread(small.start)
        await until(lambda: _is_taken(store))
