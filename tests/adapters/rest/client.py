"""A client that calls an ASGI application directly."""

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode, urlsplit

from starlette.types import ASGIApp, Message


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content) if self.content else None

    @property
    def fault(self) -> tuple[str, int, str]:
        """Of a Nova error: its name, code and message."""
        ((name, fault),) = self.body.items()
        return name, fault["code"], fault["message"]


class Client:
    def __init__(self, app: ASGIApp, token: str | None = None, microversion: str | None = None) -> None:
        self.app = app
        self.token = token
        self.microversion = microversion

    def at(self, microversion: str) -> "Client":
        return Client(self.app, self.token, microversion)

    async def get(self, path: str, **query: Any) -> Answer:
        return await self.request("GET", path, query=query)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.request("POST", path, body, **more)

    async def put(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.request("PUT", path, body, **more)

    async def patch(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.request("PATCH", path, body, **more)

    async def delete(self, path: str) -> Answer:
        return await self.request("DELETE", path)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        chunks: list[bytes] | None = None,
    ) -> Answer:
        """``body`` is sent as JSON unless it is bytes; ``chunks`` are sent one by one."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"host": "cloud.test", "accept": "application/json"} | (
            {"content-type": "application/json"} if content else {}
        )
        if self.token:
            sent["x-auth-token"] = self.token
        if self.microversion:
            sent["openstack-api-version"] = f"compute {self.microversion}"
        sent |= headers or {}
        url = urlsplit(path)
        parameters = url.query or urlencode(query or {}, doseq=True)
        scope = {
            "type": "http",
            "client": ("127.0.0.1", 1),
            "http_version": "1.1",
            "method": method,
            "path": unquote(url.path),
            "raw_path": url.path.encode(),
            "query_string": parameters.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            "server": ("cloud.test", 80),
            "scheme": "http",
        }
        parts = chunks if chunks is not None else [content]
        waiting: list[Message] = [
            {"type": "http.request", "body": part, "more_body": at + 1 < len(parts)} for at, part in enumerate(parts)
        ]
        got: list[Message] = []

        async def receive() -> Message:
            if not waiting:
                await asyncio.Event().wait()  # the caller stays
            return waiting.pop(0)

        async def send(message: Message) -> None:
            got.append(message)

        await self.app(scope, receive, send)
        start = got[0]
        answered = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], answered, b"".join(message.get("body", b"") for message in got[1:]))
