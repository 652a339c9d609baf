"""Serving HTTP in a process that also does other things in the background."""

import asyncio
from collections.abc import Iterable

import uvicorn
from starlette.types import ASGIApp

from ops import notify
from ops.listening import listening_socket

KEEP_ALIVE_SECONDS = 75
"""Longer than clients pause between two looks at a server: ``openstack --wait`` looks every 5 seconds, and a
connection that is closed just then is an error to it."""
SHUTDOWN_SECONDS = 5


async def serve(app: ASGIApp, listen: str, port: int, background: Iterable["asyncio.Task[None]"]) -> None:
    """Serve until told to stop, then end the background. Raises Unavailable if the port is not to be had.

    The port is shared by all processes of a role: the kernel spreads the connections.
    """
    listener = listening_socket(listen, port)
    config = uvicorn.Config(
        app,
        http="httptools",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    notify.ready()
    await uvicorn.Server(config).serve([listener])
    for task in background:
        task.cancel()
