"""How much a request may bring."""

from starlette.types import Receive, Scope

from domain.errors import LightcurveError, Refused

MAX_BODY = 1 << 20
"""Bytes of a request body, other than the bytes of an image."""


class Disconnected(LightcurveError):
    """The caller went away before the request was complete; nobody hears the answer."""

    status = 400
    code = "disconnected"


def declared_length(scope: Scope) -> int | None:
    """What Content-Length says, if it says a number."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body; raises Refused (413) as soon as it is known to be too large."""
    declared = declared_length(scope)
    if declared is not None and declared > MAX_BODY:
        raise _too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        _check_connected(message["type"])
        if len(body) > MAX_BODY:
            raise _too_large()
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        _check_connected(message["type"])
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise _too_large()
    return b"".join(parts)


def _check_connected(message_type: str) -> None:
    if message_type == "http.disconnect":
        raise Disconnected("The caller went away.")


def _too_large() -> Refused:
    return Refused("request.too_large", "Request is too large.", status=413)
