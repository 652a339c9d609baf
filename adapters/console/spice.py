"""What a proxy has to know of SPICE: which connections begin a session, and which belong to one.

A viewer opens a connection for each channel. The first is the main channel; over it the hypervisor tells the
session's number, by which it knows the others again, and which it ends with the main one.
https://www.spice-space.org/spice-protocol.html
"""

import asyncio
import struct

from adapters.console.websocket import WebSocketStream
from domain.errors import Refused

GREETING = struct.Struct("<4s3IIB")
"""Magic, two numbers of the version, size; the session's number, the kind of channel."""
MAGIC = b"REDQ"
MAIN = 1
GREETING_SECONDS = 10.0


async def joining(viewer: WebSocketStream) -> bytes:
    """What a viewer says first, if it asks for another channel of a session that there is.

    Raises Refused for one who would begin a session of its own, and ConnectionError if it goes away. Whether the
    session's number is right the hypervisor knows.
    """
    said = b""
    async with asyncio.timeout(GREETING_SECONDS):
        while len(said) < GREETING.size:
            message = await viewer.receive()
            if message is None:
                raise ConnectionError("the viewer went away")
            said += message
    magic, _, _, _, session, channel = GREETING.unpack_from(said)
    if magic != MAGIC or session == 0 or channel == MAIN:
        raise Refused("console.used", "This token has been used.", status=403)
    return said
