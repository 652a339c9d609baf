"""How much a request may bring."""

from starlette.types import Receive, Scope

from adapters.rest.kit.gate import check_document
from domain.errors import LightcurveError, Refused
from handlers.allowances import Allowances
from handlers.ports import Clock

MAX_BODY = 1 << 20
"""Bytes of a request body, other than the bytes of an image."""

MAX_ANONYMOUS_BODY = 128 << 10
"""The same, of a request without a token: a log-in."""

MAX_DISCARDED = 8 * MAX_BODY
"""Bytes of a body too large that are read all the same, for politeness."""


LARGE = 4096
"""Bytes of a body from which on it counts for what its project may bring."""
LARGE_AT_ONCE, LARGE_PER_SECOND = 16 << 20, 64 << 10
"""Bytes of large bodies of one project, at once and then each second. What they say stays in the log for ever: nobody
decides alone how fast that grows."""


class LargeBodies:
    """What the projects bring in large bodies."""

    def __init__(self, clock: Clock) -> None:
        self._left = Allowances(clock, LARGE_AT_ONCE, LARGE_PER_SECOND)

    def take(self, project_id: str | None, raw: bytes) -> None:
        """A project brings a body. Raises Refused (429) if it brings too much."""
        size = len(raw) - LARGE
        if size > 0 and project_id and not self._left.take(project_id, size):
            seconds = 1 + size // LARGE_PER_SECOND
            raise Refused("request.too_often", "Too many large requests.", status=429, retry_after=seconds)


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
    """The whole body, a JSON document. Raises Refused (413) if it is too large, and Invalid if some later stage could
    not hold what it says."""
    raw = await receive_body(scope, receive)
    check_document(raw)
    return raw


async def receive_body(scope: Scope, receive: Receive, largest: int = MAX_BODY) -> bytes:
    """The whole body, of which nothing was looked at yet. Raises Refused (413) if it is larger than ``largest``.

    A client that is still sending when we answer and close sees a broken connection instead of the answer. So of what
    is too large a part is read and thrown away, up to MAX_DISCARDED.
    """
    declared = declared_length(scope)
    hopeless = declared is not None and declared > MAX_DISCARDED
    parts: list[bytes] = []
    size, more = 0, not hopeless
    while more:
        message = await receive()
        _check_connected(message["type"])
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= largest:
            parts.append(chunk)
        else:
            parts.clear()
        more = message.get("more_body", False) and size <= MAX_DISCARDED
    if hopeless or size > largest:
        raise _too_large()
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _check_connected(message_type: str) -> None:
    if message_type == "http.disconnect":
        raise Disconnected("The caller went away.")


def _too_large() -> Refused:
    return Refused("request.too_large", "Request is too large.", status=413)
