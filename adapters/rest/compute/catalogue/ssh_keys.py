"""SSH keys: fingerprints as Nova shows them, and new pairs."""

import base64
import binascii
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.errors import Invalid


def fingerprint(public_key: str) -> str:
    """MD5 over the key's bytes, colon separated. Raises Invalid for what is no SSH public key, or several lines."""
    public_key = public_key.strip()
    try:
        if len(public_key.splitlines()) != 1:
            raise ValueError("a key is one line of authorized_keys")
        serialization.load_ssh_public_key(public_key.encode())
        blob = base64.b64decode(public_key.split(None, 2)[1], validate=True)
    except (ValueError, IndexError, binascii.Error, UnsupportedAlgorithm):
        raise Invalid("Keypair data is invalid: failed to generate fingerprint") from None
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def new_pair(comment: str) -> tuple[str, str]:
    """A new Ed25519 pair: the private key in OpenSSH's format, and the public one."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), f"{public.decode()} {comment}"
