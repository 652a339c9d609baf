"""Exporting from the real server: whole, gone on with, in parts; and what a live log is verified by."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.log_file import LogFile, Part
from domain.catalogue.keypair import KeypairCreated
from domain.errors import Invalid
from domain.log.record import GENESIS, AggregateId, Metadata
from ops.checkpoint import checkpoints
from ops.embedded.nats import EmbeddedNats
from ops.embedded.nats_accounts import CONTROL
from ops.log_export import export
from ops.notary import FileNotary
from ops.roles.plane import Plane, open_plane
from ops.settings import NatsSettings, Settings
from ops.verify import verify, verify_file
from tests.aio import asynchronous, run

pytestmark = pytest.mark.nats

EVENT = KeypairCreated(name="k", key_type="ssh", public_key="ssh-ed25519 A", fingerprint="f")
CELLS = iter(f"evidence{number}" for number in range(100))


@pytest.fixture
def settings(nats_server: EmbeddedNats, tmp_path: Path) -> Settings:
    password = tmp_path / "password"
    password.write_text(nats_server.credentials(CONTROL).password)
    cell = next(CELLS)
    made = Settings(
        state_dir=tmp_path,
        cell=cell,
        api_cell=cell,
        nats=NatsSettings(url=nats_server.url, user=CONTROL, password_file=password),
    )
    FileNotary(made).ensure_key()
    return made


@asynccontextmanager
async def _log(settings: Settings, count: int, first: int = 0) -> AsyncIterator[Plane]:
    """With events of two projects and times."""
    async with open_plane(settings, "test") as plane:
        for number in range(first, first + count):
            place = AggregateId("keypair", f"k{number}")
            for project in ("a" if number % 3 == 0 else "b", "admin"):
                meta = Metadata(
                    event_id=plane.stamp.ids.uuid(),
                    time=plane.stamp.clock.now().replace(microsecond=number),
                    request_id="req-1",
                    project_id=project,
                )
                history = await plane.store.load(place)
                await plane.store.append(place, EVENT, meta, history[-1].tail if history else GENESIS)
        yield plane


@asynchronous
async def test_a_log_is_exported_and_gone_on_with_where_it_breaks_off(settings: Settings, tmp_path: Path) -> None:
    async with _log(settings, 40):
        directory = tmp_path / "out"
        directory.mkdir()
        await export(settings, directory, ".jsonl", None, Part())
        file = directory / f"{settings.cell}.jsonl"
        keys = FileNotary(settings).known_keys()
        assert verify_file(file, keys).good
        whole = file.read_bytes()
        for size in (len(whole) // 2, len(whole) - 5, whole.index(b"\n") + 3):
            file.write_bytes(whole[:size])
            assert not verify_file(file, keys).good
            await export(settings, directory, ".jsonl", None, Part())
            assert file.read_bytes() == whole
        with pytest.raises(Invalid, match="is complete"):
            await export(settings, directory, ".jsonl", None, Part())


@asynchronous
async def test_a_file_of_something_else_is_not_gone_on_with(settings: Settings, tmp_path: Path) -> None:
    async with _log(settings, 2):
        file = tmp_path / f"{settings.cell}.jsonl"
        head = '{"format":"lightcurve-log/1","cell":"other","exported":"","last":9}\n'
        file.write_text(head)
        with pytest.raises(Invalid, match="something else"):
            await export(settings, tmp_path, ".jsonl", None, Part())
        assert file.read_text() == head


@asynchronous
async def test_a_part_has_the_events_of_a_project_and_what_it_began(settings: Settings, tmp_path: Path) -> None:
    async with _log(settings, 30):
        await export(settings, tmp_path, ".jsonl.zst", None, Part(project="a"))
        file = tmp_path / f"{settings.cell}.part.jsonl.zst"
        verdict = verify_file(file, FileNotary(settings).known_keys())
        assert verdict.good
        entries = [line.entry for lines in LogFile(file).batches() for line in lines]
        assert len(entries) == 20
        assert {entry.subject.rpartition(".k")[2] for entry in entries} == {str(at) for at in range(0, 30, 3)}


@asynchronous
async def test_a_part_may_be_of_a_time(settings: Settings, tmp_path: Path) -> None:
    async with _log(settings, 5) as plane:
        moment = [each async for batch in plane.store.entries(0) for each in batch][4].headers
        time = moment.split(b"ce-time: ")[1].split(b"Z")[0].decode()
        await export(settings, tmp_path, ".jsonl", None, Part(since=time))
        await export(settings, tmp_path, ".jsonl.gz", None, Part(until=f"{time}+00:00"))
        after, before = (
            {
                line.position
                for lines in LogFile(tmp_path / f"{settings.cell}.part{suffix}").batches()
                for line in lines
            }
            for suffix in (".jsonl", ".jsonl.gz")
        )
        assert after | before == set(range(1, 11))
        assert after.isdisjoint(before)
        with pytest.raises(Invalid, match="no time"):
            await export(settings, tmp_path, ".jsonl", None, Part(since="yesterday"))


@asynchronous
async def test_of_a_log_that_nobody_signs_there_are_no_parts(settings: Settings, tmp_path: Path) -> None:
    FileNotary(settings).key_file.unlink()
    async with _log(settings, 2):
        with pytest.raises(Exception, match="is signed yet: lightcurve checkpoint"):
            await export(settings, tmp_path, ".jsonl", None, Part(project="a"))


def _write_config(settings: Settings) -> None:
    nats = settings.nats
    (settings.state_dir / "lightcurve.toml").write_text(
        f'state_dir = "{settings.state_dir}"\ncell = "{settings.cell}"\napi_cell = "{settings.cell}"\n'
        f'[nats]\nurl = "{nats.url}"\nuser = "{nats.user}"\npassword_file = "{nats.password_file}"\n'
    )


def test_a_live_log_is_verified_and_held_against_what_was_signed_last(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_config(settings)

    async def sign() -> None:
        async with _log(settings, 10) as plane:
            await checkpoints(plane, plane.store).sign()

    run(sign())
    assert verify(settings.state_dir, [], [], [], None)
    assert "signed up to 20 by" in capsys.readouterr().out
    # As if the log had gone further once, and had been put back since.
    notary = FileNotary(settings)
    run(notary.keep(settings.cell, notary.sign(settings.cell, 30, bytes(32))))
    assert not verify(settings.state_dir, [], [], [], None)
    assert "The first bad position is 22: position 22 is missing, and so is all behind it: there were 30" in (
        capsys.readouterr().out
    )
    with pytest.raises(Invalid, match="no log of a cell"):
        verify(settings.state_dir, [], [], [], "other")
