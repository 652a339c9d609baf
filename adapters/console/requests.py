"""The HTTP that a console proxy needs: one request a connection, small, and soon."""

import asyncio
import mimetypes
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from domain.errors import Refused, not_found

MAX_HEAD = 16 * 1024
HEAD_SECONDS = 10.0
"""How long a client may take to say what it wants."""
REQUEST_LINE = re.compile(r"(GET|HEAD) (/[\x21-\x7e]*) HTTP/1\.1")
PHRASES = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    503: "Service Unavailable",
}  # fmt: skip
SAFETY = (
    "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: SAMEORIGIN\r\n"
    "Cache-Control: no-cache\r\n"
)
"""The page's address holds a token: it must not be told to anybody, nor be framed by anybody."""


class Request(NamedTuple):
    """What a client asks for."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    """By lower-case name."""

    @property
    def is_upgrade(self) -> bool:
        """Whether it wants a WebSocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"

    @property
    def token(self) -> str:
        """The token: in the query, or in a query inside ``path``, as Nova's URLs have it. Raises Refused (400)."""
        inner = parse_qs(_split(self.query.get("path", [""])[0]).query)
        return (self.query.get("token") or inner.get("token") or [""])[0]


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read the head of one request. Raises Refused, and IncompleteReadError when the client goes away."""
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        raise Refused("http.too_large", "Request head is too large.", status=431) from None
    except TimeoutError:
        raise Refused("http.slow", "The request took too long.", status=408) from None
    line, *fields = head[:-4].split("\r\n")
    asked = REQUEST_LINE.fullmatch(line)
    if asked is None:
        raise Refused("http.malformed", "Only GET over HTTP/1.1 is served here.", status=400)
    headers = {name.strip().lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    url = _split(asked[2])
    return Request(asked[1], unquote(url.path), parse_qs(url.query), headers)


def _split(url: str) -> SplitResult:
    """Raises Refused (400) for what is no URL: ``//[`` has half an address."""
    try:
        return urlsplit(url)
    except ValueError:
        raise Refused("http.malformed", "That is no URL.", status=400) from None


def check_origin(request: Request, allowed: tuple[str, ...]) -> None:
    """A page of another site must not open a console with a stolen token. Raises Refused (403).

    Clients that are no browsers send no Origin; a browser's is the proxy's own, or one the operator allows.
    """
    origin = request.headers.get("origin")
    if origin is None or origin in allowed:
        return
    if not origin or _split(origin).netloc != request.headers.get("host"):
        raise Refused("console.origin", "Origin header does not match this host.", status=403)


def find_file(root: Path, path: str) -> Path:
    """The file of the web client at a path. Raises Refused (404), also for one that leads elsewhere."""
    if "\0" in path or "\\" in path:
        raise not_found("File", "here")
    found = (root / path.lstrip("/")).resolve()
    try:
        is_there = found.is_relative_to(root.resolve()) and found.is_file()
    except OSError:
        # No file can have such a name.
        is_there = False
    if not is_there:
        raise not_found("File", "here")
    return found


def head(
    status: int, length: int, request_id: str, media_type: str = "text/plain; charset=utf-8", policy: str = ""
) -> bytes:
    """The head of an answer; the connection closes behind it. ``policy`` is a page's Content-Security-Policy."""
    restrained = f"Content-Security-Policy: {policy}\r\n" if policy else ""
    return (
        f"HTTP/1.1 {status} {PHRASES[status]}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n{SAFETY}"
        f"{restrained}X-Openstack-Request-Id: {request_id}\r\nConnection: close\r\n\r\n"
    ).encode()


def media_type_of(file: Path) -> str:
    """By the name's ending. A module in JavaScript must have its type, or no browser runs it."""
    return (
        "text/javascript"
        if file.suffix == ".js"
        else mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    )
