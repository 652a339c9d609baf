"""Serving HTTP in a process that also does other things in the background."""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from ops import notify
from ops.listening import listening_socket
from ops.roles.bounded_http import Crowd, Door

KEEP_ALIVE_SECONDS = 75
"""Longer than clients pause between two looks at a server: ``openstack --wait`` looks every 5 seconds, and a
connection that is closed just then is an error to it."""
SHUTDOWN_SECONDS = 5


async def serve(app: ASGIApp, listen: str, port: int, background: Iterable["asyncio.Task[None]"]) -> None:
    """Serve until told to stop, then end the background. Raises Unavailable if the port is not to be had.

    The port is shared by all processes of a role: the kernel spreads the connections. What one client can hold of
    this process is bounded.
    """
    listener = listening_socket(listen, port)
    notify.ready()
    await uvicorn.Server(http_config(app, Crowd())).serve([listener])
    for task in background:
        task.cancel()


def http_config(app: ASGIApp, crowd: Crowd) -> uvicorn.Config:
    """How we serve HTTP."""
    return uvicorn.Config(
        app,
        # uvicorn calls it as it would call a class.
        http=cast("Any", partial(Door, crowd=crowd)),
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
