"""One line in the log for each request that changes something or fails: what the request id leads to in this process.

Reads that succeed leave none: they are most of the load, and nobody asks for them afterwards; but for those that look
into the past or the log of others, which are part of what an audit looks at. What has no end of its own is told when
it begins.
"""

import logging
from collections.abc import MutableMapping
from time import monotonic, perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.rest.kit.event_stream import LASTS

log = logging.getLogger(__name__)

READS = ("GET", "HEAD", "OPTIONS")
MAX_PATH = 256
"""Characters of a path that are shown."""
FAILED_A_SECOND = 50
"""Lines about failed requests. Anybody can cause them, and must not decide how fast the log grows: beyond that they
are counted."""

USER, PROJECT = "lightcurve.user", "lightcurve.project"
"""Keys in the scope: who asks, as far as it is known."""
LOOKED = "lightcurve.looked"
"""And of which moment, or at what, somebody looks who may see everybody's."""


def told(scope: MutableMapping[str, Any], user: str | None, project: str | None) -> None:
    """Say who asks."""
    scope[USER], scope[PROJECT] = user, project


def looks(scope: MutableMapping[str, Any], at: str) -> None:
    """Say that somebody looks at what is not his own: that leaves a line."""
    scope[LOOKED] = at


class RequestLog:
    """Middleware. The request id stands in every line of the log anyway."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._second = 0
        self._failed = 0
        """Failures in this second."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        status = 0

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if LASTS in scope:
                    self._tell(scope, status, began)
            await send(message)

        try:
            await self._app(scope, receive, noting_status)
        finally:
            if not 0 < status < 400:
                if self._may_tell():
                    self._tell(scope, status, began)
            elif LASTS not in scope and (scope["method"] not in READS or LOOKED in scope):
                self._tell(scope, status, began)

    def _may_tell(self) -> bool:
        second = int(monotonic())
        if second != self._second:
            if self._failed > FAILED_A_SECOND:
                log.info("%d more requests failed within a second", self._failed - FAILED_A_SECOND)
            self._second, self._failed = second, 0
        self._failed += 1
        return self._failed <= FAILED_A_SECOND

    def _tell(self, scope: Scope, status: int, began: float) -> None:
        """``status`` 0 is a request that was given up before its answer."""
        client = scope.get("client")
        fields = {
            "method": scope["method"],
            "path": _shown(scope["path"]),
            "status": status,
            "ms": round(1000 * (perf_counter() - began), 1),
            "user": scope.get(USER),
            "project": scope.get(PROJECT),
            "client": client[0] if client else None,
        }
        if LOOKED in scope:
            fields["looked"] = scope[LOOKED]
        log.info("%s %s %d", fields["method"], fields["path"], status, extra={"fields": fields})


def _shown(path: str) -> str:
    """The path, without the name of a keypair, which may be sealed in the log: a process's log has no keys."""
    before, keypairs, name = path.partition("/os-keypairs/")
    return (f"{before}{keypairs}*" if name else path)[:MAX_PATH]
