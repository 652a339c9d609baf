"""A small HTTP/1.1 client on one kept connection: it must cost little beside what it measures."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.005


class Answer(NamedTuple):
    """Status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection; one request at a time."""

    def __init__(
        self, host: str, port: int, headers: dict[str, str] | None = None, source: tuple[str, int] | None = None
    ) -> None:
        """``source`` is the address that it comes from, where that matters."""
        self._address = host, port
        self._source = source
        self.headers = headers or {}
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, body: Any = None) -> Answer:
        """Send, and read the whole answer. ``body`` is JSON unless it is bytes."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                *self._address, limit=64 * 1024 * 1024, local_addr=self._source
            )
        assert self._reader
        payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(payload)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if payload:
            lines.append("Content-Type: application/json")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + payload)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        status = int(head[0].split(" ", 2)[1])
        return Answer(status, headers, await self._body(headers))

    async def until(self, method: str, path: str, wanted: Callable[[Answer], bool]) -> Answer:
        """Ask again and again, until the answer is as wanted. Raises TimeoutError after PATIENCE_SECONDS."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not wanted(answer := await self.request(method, path)):  # noqa: ASYNC110 - nobody tells it
                await asyncio.sleep(PAUSE_SECONDS)
        return answer

    async def _body(self, headers: dict[str, str]) -> bytes:
        assert self._reader
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(await self._reader.readline(), 16):
                parts.append(await self._reader.readexactly(size))
                await self._reader.readexactly(2)
            await self._reader.readexactly(2)
            return b"".join(parts)
        return await self._reader.readexactly(int(headers.get("content-length", 0)))

    def close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None


async def log_in(client: Client, password: str, name: str = "admin") -> None:
    """Get a token of a user for the project of the same name, and send it from now on."""
    domain = {"id": "default"}
    user = {"name": name, "domain": domain, "password": password}
    auth = {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": name, "domain": domain}},
    }
    answer = await client.request("POST", "/identity/v3/auth/tokens", {"auth": auth})
    assert answer.status == 201, answer.body
    client.headers["X-Auth-Token"] = answer.headers["x-subject-token"]
    client.headers["OpenStack-API-Version"] = "compute 2.100"
