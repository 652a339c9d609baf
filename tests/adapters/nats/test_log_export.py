"""Exporting from the real server: whole, gone on with, in parts; and what a live log is verified by."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from adapters.log_file import LogFile, Part
from adapters.notes import SigningKey
from domain.catalogue.keypair import KeypairCreated
from domain.errors import Invalid, Unavailable
from domain.log.merkle import Tree
from domain.log.record import GENESIS, AggregateId, Metadata
from ops.checkpoint import checkpoints
from ops.embedded.nats import EmbeddedNats
from ops.embedded.nats_accounts import CONTROL
from ops.log_export import export
from ops.notary import FileNotary
from ops.proofs import show_consistency, show_inclusion
from ops.roles.plane import Plane, open_plane
from ops.settings import NatsSettings, Settings
from ops.verify import verify, verify_file
from tests.aio import asynchronous, run

pytestmark = pytest.mark.nats

EVENT = KeypairCreated(name="k", key_type="ssh", public_key="ssh-ed25519 A", fingerprint="f")
SMALL = Path(__file__).parents[3] / "ops" / "verifier" / "verify_log.py"
A, B = "a" * 32, "b" * 32
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
            for project in (A if number % 3 == 0 else B, "admin"):
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
        await export(settings, tmp_path, ".jsonl.zst", None, Part(project=A))
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
            await export(settings, tmp_path, ".jsonl", None, Part(project=A))


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


def _small(*arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, SMALL, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@asynchronous
async def test_short_proofs_are_checked_by_the_small_verifier(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [str(key) for key in FileNotary(settings).known_keys()]
    async with _log(settings, 9) as plane:
        earlier = await checkpoints(plane, plane.store).sign()
        assert earlier
    async with _log(settings, 7, 9):
        pass
    old, proof = tmp_path / "earlier.note", tmp_path / "proof"
    old.write_text(earlier.note)
    capsys.readouterr()
    for position in (1, 10, 19):
        await show_inclusion(settings, None, position)
        proof.write_text(capsys.readouterr().out)
        status, told = _small(proof, *keys)
        assert (status, f"good: position {position} of the log that was signed" in told) == (0, True), told
        proof.write_text(proof.read_text().replace(f"index {position - 1}", f"index {position}"))
        assert _small(proof, *keys)[0] == 1
    await show_consistency(settings, None, earlier.size)
    text = capsys.readouterr().out
    proof.write_text(text)
    status, told = _small(proof, old, *keys)
    assert (status, f"begins with the one that was signed up to {earlier.size}" in told) == (0, True), told
    hashes = [line for line in text.partition("\n\n")[0].splitlines()[1:] if line]
    proof.write_text(text.replace(hashes[0], hashes[-1]))
    assert _small(proof, old, *keys)[0] == 1
    proof.write_text(text.replace(f"old {earlier.size}", f"old {earlier.size - 1}"))
    assert _small(proof, old, *keys)[0] == 1
    other = str(SigningKey.new().public(settings.cell))
    assert _small(tmp_path / "earlier.note", other)[0] == 2
    for asking in (show_inclusion(settings, None, 99), show_consistency(settings, None, 99)):
        with pytest.raises(Invalid):
            await asking
    with pytest.raises(Invalid, match="no log of a cell other"):
        await show_inclusion(settings, "other", 1)


@asynchronous
async def test_a_part_is_held_against_a_checkpoint(settings: Settings, tmp_path: Path) -> None:
    async with _log(settings, 5):
        await export(settings, tmp_path, ".jsonl", None, Part(project=A))
    file = tmp_path / f"{settings.cell}.part.jsonl"
    keys, note = [str(key) for key in FileNotary(settings).known_keys()], tmp_path / "note"
    own = LogFile(file).head.checkpoint or ""
    note.write_text(own)
    assert verify(tmp_path, [file], keys, [note], None)
    size, root = LogFile(file).head.last, Tree([b"x" * 32] * LogFile(file).head.last)
    note.write_text(FileNotary(settings).sign(settings.cell, size, root.root(size)))
    assert not verify(tmp_path, [file], keys, [note], None)
    note.write_text(FileNotary(settings).sign(settings.cell, size - 1, root.root(size - 1)))
    with pytest.raises(Invalid, match=f"--consistency {size - 1}"):
        verify(tmp_path, [file], keys, [note], None)


@pytest.mark.parametrize(
    "part",
    [Part(project="nobody"), Part(project=""), Part(since="0001-01-01 00:00+23:59"), Part(until="9999-12-31 23-23")],
)
@asynchronous
async def test_what_is_not_there_is_no_part(settings: Settings, tmp_path: Path, part: Part) -> None:
    async with _log(settings, 1):
        with pytest.raises(Invalid):
            await export(settings, tmp_path / "out", ".jsonl", None, part)
        assert not (tmp_path / "out").exists()


@asynchronous
async def test_without_a_log_there_is_no_directory(settings: Settings, tmp_path: Path) -> None:
    down = msgspec.structs.replace(settings, nats=NatsSettings(url="nats://127.0.0.1:1"))
    with pytest.raises(Unavailable):
        await export(down, tmp_path / "out", ".jsonl", None, Part())
    assert not (tmp_path / "out").exists()


@asynchronous
async def test_an_export_to_where_nothing_can_be_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with _log(settings, 1):
        with pytest.raises(Invalid, match="file cannot be made: File exists"):
            await export(settings, tmp_path / "file", ".jsonl", None, Part())
