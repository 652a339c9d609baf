"""As much of a SPICE viewer as it takes to be let in: https://www.spice-space.org/spice-protocol.html."""

import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from adapters.console.spice import GREETING, MAGIC
from tests.adapters.console.viewer import Viewer

DISPLAY, INPUTS = 2, 3
OK, BAD_CONNECTION_ID = 0, 8
INPUTS_INIT, MAIN_INIT = 101, 103
HEADER_BYTES, KEY_BYTES = 16, 162
REST = struct.Struct("<B4I")
"""The channel's number, one word of common capabilities, none of its own, where they begin; the word."""
SELECTS_AUTHENTICATION_AND_SPEAKS_SHORT = 0b1011
LINK_BYTES = GREETING.size + REST.size - HEADER_BYTES
NO_PASSWORD = b"\0"


def greeting(session: int, channel: int, magic: bytes = MAGIC) -> bytes:
    """What a viewer says first on the connection for a channel."""
    rest = REST.pack(0, 1, 0, LINK_BYTES - 4, SELECTS_AUTHENTICATION_AND_SPEAKS_SHORT)
    return GREETING.pack(magic, 2, 2, LINK_BYTES, session, channel) + rest


class SpiceViewer:
    """One channel's connection."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._heard = b""

    async def link(self, session: int, channel: int) -> int:
        """Ask for a channel; returns the hypervisor's answer."""
        await self._viewer.send(greeting(session, channel))
        reply = await self._read(struct.unpack("<12xI", await self._read(HEADER_BYTES))[0])
        key = load_der_public_key(reply[4 : 4 + KEY_BYTES])
        assert isinstance(key, RSAPublicKey)
        sha1 = hashes.SHA1()
        ticket = key.encrypt(NO_PASSWORD, padding.OAEP(padding.MGF1(sha1), sha1, None))
        await self._viewer.send(struct.pack("<I", 1) + ticket)
        (answer,) = struct.unpack("<I", await self._read(4))
        return int(answer)

    async def message(self, wanted: int) -> bytes:
        """The next message of a kind."""
        while True:
            kind, size = struct.unpack("<HI", await self._read(6))
            message = await self._read(size)
            if kind == wanted:
                return message

    async def _read(self, size: int) -> bytes:
        while len(self._heard) < size:
            self._heard += await self._viewer.read(1)
        answer, self._heard = self._heard[:size], self._heard[size:]
        return answer
