"""Gives every request its id, and tells it in every answer."""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handlers.context import current_request
from handlers.ports import Ids

REQUEST_ID = "lightcurve.request_id"
GLOBAL_REQUEST_ID = "lightcurve.global_request_id"
"""Keys in the scope."""

_WELL_FORMED = re.compile(rb"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class RequestIds:
    """Middleware. A caller's ``X-Openstack-Request-Id`` becomes the global request id if it is well-formed;
    anything else in it is ignored, since it goes into logs."""

    def __init__(self, app: ASGIApp, ids: Ids) -> None:
        self._app = app
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req-{self._ids.uuid()}"
        scope[REQUEST_ID] = request_id
        scope[GLOBAL_REQUEST_ID] = _global_request_id(scope)
        header = request_id.encode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"x-openstack-request-id", header),
                    (b"x-compute-request-id", header),
                ]
            await send(message)

        token = current_request.set(request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            current_request.reset(token)


def _global_request_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-openstack-request-id" and _WELL_FORMED.fullmatch(value):
            return str(value, "ascii")
    return None
