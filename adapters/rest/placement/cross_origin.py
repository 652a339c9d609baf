"""Cross-origin requests: pages of the origins that the operator names may call, others may not."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = "GET, PUT, POST, DELETE, PATCH"
EXPOSED = "X-Auth-Token, X-Openstack-Request-Id, X-Subject-Token, X-Service-Token, OpenStack-API-Version"
MAX_AGE_SECONDS = 3600


class CrossOrigin:
    """Middleware after https://fetch.spec.whatwg.org/#http-cors-protocol."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = dict(scope["headers"]) if scope["type"] == "http" else {}
        origin: bytes = asked.get(b"origin", b"")
        allowed = origin.decode("latin-1") in self._origins
        if origin and scope["method"] == "OPTIONS" and b"access-control-request-method" in asked:
            headers = _preflight(origin, asked) if allowed else []
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_with_origin(message: Message) -> None:
            if allowed and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_permission(origin)]
            await send(message)

        await self._app(scope, receive, send_with_origin)


def _permission(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED.encode()),
        (b"vary", b"Origin"),
    ]


def _preflight(origin: bytes, asked: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    headers = [
        *_permission(origin),
        (b"access-control-allow-methods", METHODS.encode()),
        (b"access-control-max-age", str(MAX_AGE_SECONDS).encode()),
    ]
    if wanted := asked.get(b"access-control-request-headers"):
        headers.append((b"access-control-allow-headers", wanted))
    return headers
