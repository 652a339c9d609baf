"""Hosts come to a NATS server of ours while it runs."""

import asyncio

import msgspec

from adapters.nats.connection import connect
from adapters.nats.names import Names
from domain.errors import Unavailable
from ops.embedded.nats import EmbeddedNats
from ops.embedded.nats_accounts import CONTROL
from ops.host_keys import HostKey

SECONDS = 60.0
"""How long the server is waited for."""
_AGAIN = 0.2


async def admit(server: EmbeddedNats, key: HostKey) -> bool:
    """Have the server take in a host, and wait until what it says arrives; False if no server runs.

    Raises Unavailable if that takes too long.
    """
    if not server.reload():
        return False
    tls = server.tls.context if server.tls else None
    host = await connect(server.url, "lightcurve-admission", key.credentials, SECONDS, tls)
    control = await connect(server.url, "lightcurve-admission", server.credentials(CONTROL), SECONDS, tls)
    try:
        arrived = asyncio.Event()
        subject = Names(server.cell).receiver(key.name)
        await control.tap(subject, lambda _: arrived.set())
        # An account that is new to a running server has its imports only after the next reload (2.15).
        server.reload()
        async with asyncio.timeout(SECONDS):
            while not arrived.is_set():
                # As the host will ask itself: to have its queue made.
                host.send(subject, msgspec.json.encode([key.name]))
                await asyncio.sleep(_AGAIN)
    except TimeoutError:
        raise Unavailable(f"NATS does not take in the host {key.name}; see its log.") from None
    finally:
        await host.close()
        await control.close()
    return True
