"""The installation's key and what it remembers of its signatures, in files."""

import asyncio
import stat
from pathlib import Path

import pytest

from adapters.notes import NotSigned, SigningKey
from domain.errors import Invalid, LightcurveError, Unavailable
from ops.notary import FileNotary, keys_of
from ops.settings import CheckpointSettings, Settings

ROOT = bytes(32)


@pytest.fixture
def notary(tmp_path: Path) -> FileNotary:
    return FileNotary(Settings(state_dir=tmp_path))


def test_without_a_key_nothing_is_signed_and_the_cure_is_named(notary: FileNotary) -> None:
    with pytest.raises(Invalid, match="lightcurve checkpoint --key"):
        notary.sign("cell1", 1, ROOT)
    assert notary.known_keys() == []


def test_the_key_is_made_once(notary: FileNotary, tmp_path: Path) -> None:
    notary.ensure_key()
    note = notary.sign("cell1", 1, ROOT)
    FileNotary(Settings(state_dir=tmp_path)).ensure_key()
    assert notary.opened(note).size == 1
    assert stat.S_IMODE(notary.key_file.stat().st_mode) == 0o600
    assert [key.name.rpartition("/")[2] for key in notary.known_keys()] == ["cell1", "api"]


def test_the_key_may_lie_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere" / "key"
    FileNotary(Settings(state_dir=tmp_path, checkpoints=CheckpointSettings(key_file=file))).ensure_key()
    assert SigningKey.read(file)


def test_what_was_signed_last_is_kept(notary: FileNotary) -> None:
    notary.ensure_key()
    assert notary.kept("cell1") is None
    asyncio.run(notary.keep("cell1", notary.sign("cell1", 7, ROOT)))
    kept = notary.kept("cell1")
    assert kept
    assert kept.size == 7
    assert notary.kept("api") is None


def test_a_new_key_is_not_bound_by_what_the_old_one_has_signed_which_stays_good(notary: FileNotary) -> None:
    notary.ensure_key()
    old = notary.sign("cell1", 7, ROOT)
    asyncio.run(notary.keep("cell1", old))
    notary.renew_key()
    assert notary.kept("cell1") is None
    assert notary.opened(old).size == 7
    assert notary.opened(notary.sign("cell1", 1, ROOT)).origin != notary.opened(old).origin
    assert len(notary.known_keys()) == 4
    assert stat.S_IMODE(notary.key_file.stat().st_mode) == 0o600


def test_who_is_not_believed_is_not_believed(notary: FileNotary) -> None:
    notary.ensure_key()
    stranger = SigningKey.new()
    with pytest.raises(NotSigned):
        notary.opened(stranger.sign("cell1", 1, ROOT))
    for _ in range(2):
        notary.believe(stranger.public("cell1"))
    assert notary.opened(stranger.sign("cell1", 1, ROOT)).size == 1
    assert len(notary.known_keys()) == 3


def test_a_note_that_cannot_be_read_is_told_and_nothing_else(notary: FileNotary, tmp_path: Path) -> None:
    notary.ensure_key()
    file = tmp_path / "checkpoints" / "cell1.note"
    file.mkdir(parents=True)
    with pytest.raises(Unavailable, match="cannot be read"):
        notary.kept("cell1")
    file.rmdir()
    name = notary.known_keys()[0].name
    file.write_text(f"{name}\n7\n")
    with pytest.raises(LightcurveError):
        notary.kept("cell1")


def test_keys_are_given_by_themselves_or_in_files(tmp_path: Path) -> None:
    one, other = (SigningKey.new().public("cell1") for _ in range(2))
    file = tmp_path / "keys"
    file.write_text(f"{one}\n{other}\n")
    assert keys_of([str(one), str(file)]) == [one, one, other]
    with pytest.raises(Invalid, match="neither"):
        keys_of(["nowhere"])
