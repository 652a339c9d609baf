"""A client that calls an ASGI application directly."""

import asyncio
import json
from typing import Any, NamedTuple, Self
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
        scope = self._scope(method, path, query, headers, content)
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

    def stream(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> "Stream":
        """Ask for server-sent events."""
        accepted = {"accept": "text/event-stream"} | (headers or {})
        return Stream(self.app, self._scope("GET", path, query, accepted, b""))

    def _scope(
        self, method: str, path: str, query: dict[str, Any] | None, headers: dict[str, str] | None, content: bytes
    ) -> dict[str, Any]:
        sent = {"host": "cloud.test", "accept": "application/json"} | (
            {"content-type": "application/json"} if content else {}
        )
        if self.token:
            sent["x-auth-token"] = self.token
        if self.microversion:
            sent["openstack-api-version"] = f"compute {self.microversion}, volume latest"
        sent |= headers or {}
        url = urlsplit(path)
        parameters = url.query or urlencode(query or {}, doseq=True)
        return {
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


class Stream:
    """An answer that goes on; the client takes a piece when it is asked for one, and goes at the end."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        self._app = app
        self._scope = scope
        self._sent: asyncio.Queue[Message] = asyncio.Queue(maxsize=1)
        self._gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._app(self._scope, self._receive, self._sent.put))
        start = await self._next()
        self.status: int = start["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        while not self._task.done():
            if not self._sent.empty():
                self._sent.get_nowait()
            await asyncio.sleep(0)
        await self._task

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _next(self) -> Message:
        async with asyncio.timeout(10):
            return await self._sent.get()

    async def block(self) -> str | None:
        """The next one; None once it has ended."""
        message = await self._next()
        return message["body"].decode() if message.get("more_body") else None

    async def event(self) -> tuple[str, Any]:
        """The next event, after whatever else: its id and its data."""
        while True:
            block = await self.block()
            assert block is not None, "the stream has ended"
            assert block.endswith("\n\n")
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
            if "data" in fields:
                return fields["id"], json.loads(fields["data"])
