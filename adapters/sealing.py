"""Sealing small secrets with AES-GCM."""

import base64
import binascii
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import Invalid

_NONCE = 12
_FORMAT = "v1"


class Key:
    """A key of one owner. What it seals cannot be opened under another owner's name."""

    SIZE = 32
    """Bytes: AES-256."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)
        self._secret = secret
        # Tells keys apart without telling anything about them.
        self._id = hashlib.sha256(b"lightcurve key " + secret).hexdigest()[:16]

    def seal(self, owner: str, plaintext: bytes, nonce: bytes | None = None) -> str:
        """Text ``v1.<key id>.<nonce, ciphertext and tag>``. A nonce of 12 bytes must never be given twice."""
        nonce = os.urandom(_NONCE) if nonce is None else nonce
        sealed = nonce + self._cipher.encrypt(nonce, plaintext, owner.encode())
        return f"{_FORMAT}.{self._id}.{base64.urlsafe_b64encode(sealed).decode()}"

    def seal_text(self, owner: str, text: str) -> str:
        """The same token for the same text, so that who compares sealed texts of one owner finds the equal ones."""
        plaintext = text.encode()
        # A nonce made of what it seals comes twice only with the same plaintext, as in RFC 5297.
        nonce = hmac.digest(self._secret, b"lightcurve text " + plaintext, "sha256")[:_NONCE]
        return self.seal(owner, plaintext, nonce)

    def unseal(self, owner: str, sealed: str) -> bytes | None:
        """The plaintext; None if another key sealed it. Raises Invalid for what was altered or never sealed."""
        try:
            form, key_id, text = sealed.split(".")
            content = base64.b64decode(text, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise Invalid("This is no sealed text.") from None
        if form != _FORMAT:
            raise Invalid(f"Sealed text of form {form!r} is not known.")
        if key_id != self._id:
            return None
        try:
            return self._cipher.decrypt(content[:_NONCE], content[_NONCE:], owner.encode())
        except InvalidTag:
            raise Invalid("A sealed text was altered, or belongs to somebody else.") from None
