"""The bytes of volumes follow their records, whoever dies in between."""

import asyncio
import fcntl
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.system import SystemIds
from adapters.volume_files import VolumeFiles
from domain.errors import HostFailed
from domain.kinds import EVENTS
from domain.neighbours.volume import state as storage
from domain.neighbours.volume import volumes
from domain.neighbours.volume.changes import VolumeLimits, VolumeRequested
from domain.neighbours.volume.state import Storage
from handlers.context import Stamp
from handlers.log.registry import Registry
from handlers.neighbours import volume_bytes
from handlers.neighbours.volume_bytes import VolumeBytes, volume_disk
from tests.aio import asynchronous
from tests.clocks import StandingClock

SECONDS = 20.0
AT = datetime(2030, 1, 1, tzinfo=UTC)
GIB = 1 << 30


class Cloud:
    """A log, and processes over it that make bytes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stamp = Stamp(StandingClock(), SystemIds())
        self.store = MemoryEventStore(Broker(self.stamp.clock), "api", EventMapper(EVENTS))
        self.registry = self.other()
        self.tasks: list[asyncio.Task[None]] = []

    def other(self) -> Registry:
        return Registry(self.store, self.stamp, [storage.KIND])

    def files(self) -> VolumeFiles:
        return VolumeFiles(self.directory, self.directory / "images")

    def run(self, registry: Registry, files: VolumeFiles | None = None) -> "asyncio.Task[None]":
        made = VolumeBytes(registry, self.store, files or self.files(), self.stamp)
        work = asyncio.gather(registry.run(), made.run())
        task = asyncio.ensure_future(work)
        self.tasks.append(task)  # type: ignore[arg-type]
        return task  # type: ignore[return-value]

    async def submit(self, decide: object) -> None:
        await self.registry.submit(self.stamp.own_context(), storage.aggregate("p"), decide)  # type: ignore[arg-type]

    async def request(self, volume_id: str) -> None:
        asked = VolumeRequested(
            volume_id=volume_id, project_id="p", user_id=None, name=None, size_gb=1, type_id="t",
            availability_zone="nova", at=AT,
        )  # fmt: skip
        await self.submit(lambda state: volumes.request(state, VolumeLimits(), asked))

    def state(self) -> Storage:
        return self.registry.of(storage.KIND, "p") or Storage()

    async def until_done(self) -> None:
        async with asyncio.timeout(SECONDS):
            news = asyncio.Event()
            self.registry.listen(lambda _: news.set())
            while self.state().open:
                news.clear()
                await news.wait()

    def names(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()} - {".lock", "images"}

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@asynchronous
async def test_what_is_unfinished_is_taken_up_and_what_is_nobodys_removed(tmp_path: Path):
    cloud = Cloud(tmp_path)
    await cloud.request("v1")
    for name in (f"{volume_disk('v1')}.part", volume_disk("nobodys"), f"{volume_disk('begun')}.part", "snapshot-s"):
        (tmp_path / name).write_bytes(b"left by a crash")
    cloud.run(cloud.registry)
    await cloud.until_done()
    assert cloud.state().volumes["v1"].status == "available"
    assert cloud.names() == {volume_disk("v1")}
    assert (tmp_path / volume_disk("v1")).stat().st_size == GIB
    await cloud.submit(lambda state: volumes.delete(state, "v1", AT, None))
    await cloud.until_done()
    assert (cloud.names(), cloud.state().volumes, cloud.state().gigabytes) == (set(), {}, 0)
    await cloud.stop()


@asynchronous
async def test_a_disk_of_which_only_the_log_knows_stays(tmp_path: Path):
    """Who comes next may not have read yet what the one before him made."""
    cloud = Cloud(tmp_path)
    first = cloud.run(cloud.registry)
    await cloud.registry.ready()
    late = cloud.other()
    await late.read_once()
    await cloud.request("v1")
    await cloud.until_done()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    made = VolumeBytes(late, cloud.store, cloud.files(), cloud.stamp)
    working = asyncio.create_task(made.run())
    (tmp_path / volume_disk("nobodys")).write_bytes(b"")
    async with asyncio.timeout(SECONDS):
        while volume_disk("nobodys") in cloud.names():  # noqa: ASYNC110 - it is another's work
            await asyncio.sleep(0.01)
    assert cloud.names() == {volume_disk("v1")}
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


@asynchronous
async def test_one_process_at_a_time(tmp_path: Path):
    cloud = Cloud(tmp_path)
    first = cloud.run(cloud.registry)
    second = cloud.other()
    cloud.run(second)
    for number in range(5):
        await cloud.request(f"v{number}")
    await cloud.until_done()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await cloud.submit(lambda state: volumes.delete(state, "v0", AT, None))
    async with asyncio.timeout(SECONDS):
        while "v0" in (second.of(storage.KIND, "p") or Storage()).volumes:  # noqa: ASYNC110 - it is another's work
            await asyncio.sleep(0.01)
    assert cloud.names() == {volume_disk(f"v{number}") for number in range(1, 5)}
    await cloud.stop()


HOLDER = """
import asyncio, sys
from pathlib import Path
from adapters.volume_files import VolumeFiles
async def work():
    files = VolumeFiles(Path(sys.argv[1]), Path(sys.argv[1]))
    async with files.alone():
        await files.create("volume-a", 1)
asyncio.run(work())
"""
SLOW = """#!/bin/sh
echo it works > "$FIFOS/began"
cat "$FIFOS/end"
"""
"""In the place of qemu-img: one that ends when it is told to."""


def is_locked(directory: Path) -> bool:
    with (directory / ".lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@asynchronous
async def test_who_takes_over_waits_for_what_a_killed_process_has_begun(tmp_path: Path):
    programs, directory = tmp_path / "bin", tmp_path / "volumes"
    programs.mkdir()
    (programs / "qemu-img").write_text(SLOW)
    (programs / "qemu-img").chmod(0o755)
    for name in ("began", "end"):
        os.mkfifo(tmp_path / name)
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "FIFOS": str(tmp_path)}
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, str(directory), env=environment)
    assert await asyncio.to_thread((tmp_path / "began").read_text) == "it works\n"
    holder.kill()
    await holder.wait()
    assert is_locked(directory), "by the program that it has left behind"
    await asyncio.to_thread((tmp_path / "end").write_text, "now")
    async with asyncio.timeout(SECONDS), VolumeFiles(directory, directory).alone():
        assert is_locked(directory)
    assert not is_locked(directory)


@asynchronous
async def test_where_disks_cannot_be_kept_the_process_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(volume_bytes, "AGAIN_SECONDS", 0.01)
    (tmp_path / "volumes").write_text("in the way")
    cloud = Cloud(tmp_path / "volumes")
    with pytest.raises(HostFailed):
        async with cloud.files().alone():
            pass
    work = cloud.run(cloud.registry)
    await cloud.registry.ready()
    await cloud.request("v1")
    assert not work.done()
    (tmp_path / "volumes").unlink()
    await cloud.until_done()
    assert cloud.names() == {volume_disk("v1")}
    await cloud.stop()


@asynchronous
async def test_what_is_repeated_changes_nothing(tmp_path: Path):
    files = VolumeFiles(tmp_path, tmp_path)
    async with files.alone():
        await files.create("volume-a", 1)
        with (tmp_path / "volume-a").open("r+b") as file:
            file.write(b"kept")
        for _ in range(2):
            await files.create("volume-a", 1)
            await files.grow("volume-a", 2)
            await files.copy("snapshot-b", "volume-a", 2)
        await files.grow("volume-a", 1)
        for name in ("volume-a", "snapshot-b"):
            with (tmp_path / name).open("rb") as file:
                assert file.read(4) == b"kept"
            assert (tmp_path / name).stat().st_size == 2 * GIB
        with pytest.raises(HostFailed):
            await files.copy("volume-c", "volume-a", 1)
        with pytest.raises(HostFailed):
            await files.copy("volume-c", "volume-none", 1)
        assert sorted(await files.all()) == ["snapshot-b", "volume-a"]
        for _ in range(2):
            await files.remove("volume-a")
        assert await files.all() == ["snapshot-b"]
