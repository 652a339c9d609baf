"""Signed notes (https://c2sp.org/signed-note) with Ed25519: a public key is all it takes to check a checkpoint."""

import os
import re
import secrets
import socket
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.errors import Invalid, LightcurveError
from domain.log.checkpoint import Checkpoint, parsed

ED25519 = b"\x01"
_ID_BYTES, _KEY_BYTES, _SIGNATURE_BYTES = 4, 32, 64
_PRIVATE = "PRIVATE+KEY"
_PREFIX = "lightcurve"
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9-]")
_NOTE = re.compile(r"^(?:[^\n]+\n){3,}\n(?:— [^\n]+(?:\n|\Z))+", re.MULTILINE)
_SIGNATURE_LINE = re.compile(r"— (\S+) ([A-Za-z0-9+/=]+)")


class NotSigned(LightcurveError):
    """A note bears no good signature of a key that is known."""

    code = "not_signed"


class PublicKey(NamedTuple):
    """Whom to believe: written ``name+id+base64``, the verifier's form of the transparency world's tools."""

    name: str
    """The origin of the one log that is signed with it."""
    key: bytes

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(ED25519 + self.key).decode()}"

    @property
    def id(self) -> bytes:
        """What tells keys of one name apart."""
        return _key_id(self.name, self.key)

    def verifies(self, signature: bytes, text: str) -> bool:
        """Whether the signature is this key's, of this text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """The private key of an installation. Each of its logs has a name of its own, and so a verifier's key of its own,
    over the same key pair."""

    def __init__(self, installation: str, seed: bytes) -> None:
        self.installation = installation
        self._seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._private.public_key().public_bytes_raw()

    @classmethod
    def new(cls) -> "SigningKey":
        """A fresh one, for an installation that nobody else is called like."""
        host = _NOT_IN_A_NAME.sub("-", socket.gethostname().lower())[:40]
        return cls(f"{_PREFIX}/{host}-{secrets.token_hex(4)}", secrets.token_bytes(_KEY_BYTES))

    @classmethod
    def read(cls, file: Path) -> "SigningKey":
        """Raises Invalid; OSError."""
        name, id_, seed = _parts(file.read_text().strip().removeprefix(f"{_PRIVATE}+"))
        if len(seed) == _KEY_BYTES:
            found = cls(name, seed)
            if id_ == _key_id(name, found._public).hex():
                return found
        raise Invalid(f"{file} is no signing key.")

    def write(self, file: Path) -> None:
        """Where only its owner can read it. Raises FileExistsError: a key is never written over."""
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        seed = b64encode(ED25519 + self._seed).decode()
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
            output.write(f"{_PRIVATE}+{self.installation}+{_key_id(self.installation, self._public).hex()}+{seed}\n")

    def public(self, cell: str) -> PublicKey:
        """What the checkpoints of a cell's log are checked with."""
        return PublicKey(f"{self.installation}/{cell}", self._public)

    def sign(self, cell: str, size: int, root: bytes) -> str:
        """The checkpoint of a cell's log, as a note."""
        public = self.public(cell)
        text = str(Checkpoint(public.name, size, root))
        signature = b64encode(public.id + self._private.sign(text.encode())).decode()
        return f"{text}\n— {public.name} {signature}\n"


def public_key(text: str) -> PublicKey:
    """The inverse of ``str(PublicKey)``. Raises Invalid."""
    name, id_, key = _parts(text.strip())
    if len(key) != _KEY_BYTES or not name or id_ != _key_id(name, key).hex():
        raise Invalid(f"{text.strip()[:200]!r} is no verifier's key: name+id+base64 of Ed25519.")
    return PublicKey(name, key)


def opened(note: str, keys: Iterable[PublicKey]) -> Checkpoint:
    """What a note says, if it is signed with a known key of the log that it speaks of; other signatures are passed
    over. Raises NotSigned, Invalid."""
    text, separator, signatures = note.rpartition("\n\n")
    text += "\n"
    if not separator:
        raise Invalid(f"{note[:200]!r} is no signed note.")
    checkpoint = parsed(text)
    known = {(key.name, key.id): key for key in keys if key.name == checkpoint.origin}
    signed = False
    for name, packed in _SIGNATURE_LINE.findall(signatures):
        blob = _bytes(packed)
        key = known.get((name, blob[:_ID_BYTES]))
        if key is not None:
            if len(blob) != _ID_BYTES + _SIGNATURE_BYTES or not key.verifies(blob[_ID_BYTES:], text):
                raise NotSigned(f"the signature of {name} does not fit it")
            signed = True
    if not signed:
        raise NotSigned(f"it is of {checkpoint.origin}, and none of the given keys has signed it")
    return checkpoint


def notes_in(text: str) -> list[str]:
    """The signed notes in a text, whatever stands between them."""
    return _NOTE.findall(text)


def unchecked(note: str) -> Checkpoint:
    """What a note says, whoever has signed it. Raises Invalid."""
    return parsed(note.rpartition("\n\n")[0] + "\n")


def _parts(text: str) -> tuple[str, str, bytes]:
    """Name, id and key of ``name+id+base64``; no key for what is none."""
    name, _, rest = text.partition("+")
    id_, _, packed = rest.partition("+")
    blob = _bytes(packed)
    return name, id_, blob[1:] if blob[:1] == ED25519 else b""


def _key_id(name: str, key: bytes) -> bytes:
    return sha256(f"{name}\n".encode() + ED25519 + key).digest()[:_ID_BYTES]


def _bytes(packed: str) -> bytes:
    try:
        return b64decode(packed, validate=True)
    except ValueError:
        return b""
