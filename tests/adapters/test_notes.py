"""Signed notes as others write and read them."""

import stat
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.notes import NotSigned, PublicKey, SigningKey, opened, public_key
from domain.errors import Invalid
from domain.log.checkpoint import Checkpoint, parsed

# Of the documentation of golang.org/x/mod/sumdb/note: another implementation's key and note.
PETER = public_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
SEED = bytes(range(32))
KEY = SigningKey("lightcurve/test", SEED)
ROOT = bytes(range(32, 64))


def test_anothers_key_is_read_and_written() -> None:
    assert str(PETER) == "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    blob = b64decode(signature)
    assert blob[:4] == PETER.id
    assert PETER.verifies(blob[4:], text)
    assert not PETER.verifies(blob[4:], text + "!")


def test_a_note_says_what_was_signed() -> None:
    note = KEY.sign("cell1", 7, ROOT)
    assert note.startswith(
        "lightcurve/test/cell1\n7\nICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n\n— lightcurve/test/cell1 "
    )
    assert opened(note, [KEY.public("api"), KEY.public("cell1")]) == Checkpoint("lightcurve/test/cell1", 7, ROOT)


def test_signatures_of_others_are_passed_over() -> None:
    note = KEY.sign("cell1", 7, ROOT)
    witnessed = (
        f"{note}— witness.example AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
    )
    assert opened(witnessed, [KEY.public("cell1")]).size == 7


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("\n7\n", "\n8\n", NotSigned),
        ("/cell1\n7", "/cell2\n7", NotSigned),
        ("\n7\n", "\n07\n", Invalid),
        ("\n\n", "\n", Invalid),
        ("=\n", "\n", Invalid),
    ],
)
def test_what_was_altered_is_not_signed(old: str, new: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        opened(KEY.sign("cell1", 7, ROOT).replace(old, new, 1), [KEY.public("cell1")])


def test_only_known_keys_count_and_only_for_their_log() -> None:
    note = KEY.sign("cell1", 7, ROOT)
    other = SigningKey("lightcurve/test", SEED[::-1])
    for keys in ([], [other.public("cell1")], [KEY.public("api")]):
        with pytest.raises(NotSigned, match="none of the given keys"):
            opened(note, keys)
    forged = note.replace(note.split()[-1], other.sign("cell1", 7, ROOT).split()[-1])
    with pytest.raises(NotSigned):
        opened(forged, [KEY.public("cell1")])
    damaged = note[:-10] + ("A" if note[-10] != "A" else "B") + note[-9:]
    with pytest.raises(NotSigned, match="does not fit"):
        opened(damaged, [KEY.public("cell1")])


def test_a_key_survives_its_file_and_is_nobody_elses(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "key"
    key = SigningKey.new()
    key.write(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SigningKey.read(file).sign("cell1", 1, ROOT) == key.sign("cell1", 1, ROOT)
    with pytest.raises(FileExistsError):
        key.write(file)
    text = file.read_text()
    file.write_text(text.replace("lightcurve/", "lightcurve/x"))
    with pytest.raises(Invalid, match="no signing key"):
        SigningKey.read(file)
    assert text.startswith("PRIVATE+KEY+lightcurve/")


def test_installations_have_names_of_their_own() -> None:
    assert SigningKey.new().installation != SigningKey.new().installation


def test_the_public_key_is_that_of_the_seed() -> None:
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    assert KEY.public("cell1") == PublicKey("lightcurve/test/cell1", public) == public_key(str(KEY.public("cell1")))


@pytest.mark.parametrize(
    "text",
    ["", "a", "a+b", "a+00000000+AQ==", str(KEY.public("c")).replace("test", "text"), str(KEY.public("c"))[:-4]],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="no verifier's key"):
        public_key(text)


@pytest.mark.parametrize("text", ["", "a\nb\nc\n", "a\n1\nAAAA\n", f"\n1\n{'A' * 43}=\n", f"a\n-1\n{'A' * 43}=\n"])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is no checkpoint"):
        parsed(text)
