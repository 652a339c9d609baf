"""The host's end of the metadata service: 169.254.169.254 in each tenant's network.

Who asks is told by the network on which the question arrives and the address it comes from, as the control plane
told this host; nothing that the guest says counts. The answer comes from the metadata service, which believes our
signature. A guest can keep no more than its share of this process: sizes, times and connections are bounded.
"""

import asyncio
import contextlib
import logging
import re
import ssl
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

from adapters.libvirt.dnsmasq import METADATA_ADDRESS
from adapters.libvirt.namespaces import listen_in
from adapters.metadata import signing
from domain.errors import Invalid
from domain.guest import GuestSpec

PORT = 80
MAX_HEAD = 16 * 1024
MAX_BODY = 4 * 1024
"""Bytes; the only thing that guests post is a password."""
MAX_ANSWER = 8 * 1024 * 1024
REQUEST_SECONDS = 10.0
"""How long a guest may take to ask."""
ANSWER_SECONDS = 60.0
"""And to be answered, slow as it may be in reading."""
CONNECT_SECONDS = 5.0
MAX_AT_ONCE = 8
"""Connections of one guest."""
CHUNK = 64 * 1024
REQUEST_LINE = re.compile(rb"(GET|HEAD|POST) (/[\x21-\x7e]*) HTTP/1\.[01]")

log = logging.getLogger(__name__)


class Guest(NamedTuple):
    """Who has an address."""

    server_id: str
    project_id: str


class MetadataUpstream(NamedTuple):
    """Where the metadata service is, and what proves to it that we are a host of its cloud."""

    url: str
    secret: bytes
    host: str = ""
    """Whose secret it is; empty: that of all who ask for guests, as Neutron's agents do."""


class _Refusal(Exception):
    """An answer without asking the service."""

    def __init__(self, status: int, phrase: str) -> None:
        super().__init__(phrase)
        self.status = status
        self.phrase = phrase


class MetadataProxies:
    """One listener a network, all in this process. A new object on the same host finds the port free at once."""

    def __init__(self, upstream: MetadataUpstream) -> None:
        url = urlsplit(upstream.url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise Invalid(f"The metadata service's URL {upstream.url!r} is none.")
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._host = url.hostname
        self._port = url.port or (443 if self._tls else 80)
        self._upstream = upstream
        self._guests: dict[str, Mapping[str, Guest]] = {}
        self._servers: dict[str, asyncio.Server] = {}
        self._busy: Counter[tuple[str, str]] = Counter()

    async def ensure(self, network_id: str, namespace: str, guests: list[GuestSpec], *, anew: bool = False) -> None:
        """Answer these guests on their network; ``anew`` if the namespace is another than before.

        Raises HostFailed.
        """
        self._guests[network_id] = {
            nic.ip_address: Guest(guest.server_id, guest.project_id)
            for guest in guests
            for nic in guest.nics
            if nic.network_id == network_id
        }
        if anew:
            await self._close(network_id)
        if network_id not in self._servers:
            listener = await asyncio.to_thread(listen_in, namespace, METADATA_ADDRESS, PORT)

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._serve(network_id, reader, writer)

            self._servers[network_id] = await asyncio.start_server(serve, sock=listener, limit=MAX_HEAD)

    async def forget(self, network_id: str) -> None:
        """The network is gone."""
        self._guests.pop(network_id, None)
        await self._close(network_id)

    async def close(self) -> None:
        """Answer nobody any more."""
        for network_id in list(self._servers):
            await self.forget(network_id)

    async def _close(self, network_id: str) -> None:
        server = self._servers.pop(network_id, None)
        if server is not None:
            server.close()

    async def _serve(self, network_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("peername")[0]
        who = network_id, address
        self._busy[who] += 1
        request_id = f"req-{uuid4()}"
        try:
            guest = self._guests.get(network_id, {}).get(address)
            if guest is None:
                raise _Refusal(404, "Not Found")
            if self._busy[who] > MAX_AT_ONCE:
                raise _Refusal(429, "Too Many Requests")
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await self._read(reader)
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._forward(request, guest, address, request_id, writer)
        except _Refusal as refusal:
            # Guests decide how often: only our own troubles are worth a line.
            level = logging.WARNING if refusal.status >= 500 else logging.DEBUG
            log.log(
                level,
                "%s: metadata for %s on network %s refused: %d",
                request_id,
                address,
                network_id,
                refusal.status,
            )
            writer.write(_plain(refusal, request_id))
        except TimeoutError:
            log.debug("%s: metadata for %s on network %s took too long", request_id, address, network_id)
        except (OSError, asyncio.IncompleteReadError) as error:
            log.debug("%s: metadata for %s on network %s: %s", request_id, address, network_id, error)
        finally:
            self._busy[who] -= 1
            if not self._busy[who]:
                del self._busy[who]
            with contextlib.suppress(OSError, TimeoutError):
                writer.close()
                async with asyncio.timeout(CONNECT_SECONDS):
                    await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[bytes, bytes, bytes]:
        """Method, path and body."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise _Refusal(431, "Request Header Fields Too Large") from None
        line, *fields = head[:-4].split(b"\r\n")
        asked = REQUEST_LINE.fullmatch(line)
        if asked is None:
            raise _Refusal(400, "Bad Request")
        length = 0
        for field in fields:
            name, _, value = field.partition(b":")
            match name.strip().lower():
                case b"transfer-encoding":
                    raise _Refusal(411, "Length Required")
                case b"content-length":
                    if not value.strip().isdigit() or len(value) > 12:
                        raise _Refusal(400, "Bad Request")
                    length = int(value)
        if length > MAX_BODY:
            raise _Refusal(413, "Content Too Large")
        return asked[1], asked[2], await reader.readexactly(length)

    async def _forward(
        self, request: tuple[bytes, bytes, bytes], guest: Guest, address: str, request_id: str,
        writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        """Ask for the guest, and pass on what is answered as it comes."""
        method, path, body = request
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                answer, upstream = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        except OSError as error:
            log.warning("the metadata service does not answer: %s", error)
            raise _Refusal(503, "Service Unavailable") from None
        try:
            fields = {
                "host": METADATA_ADDRESS,
                "connection": "close",
                "content-length": str(len(body)),
                signing.INSTANCE_ID: guest.server_id,
                signing.TENANT_ID: guest.project_id,
                **signing.proof(self._upstream.secret, self._upstream.host, guest.server_id),
                signing.FORWARDED_FOR: address,
                signing.REQUEST_ID: request_id,
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            upstream.write(b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, path, head.encode(), body))
            passed = 0
            while (chunk := await answer.read(CHUNK)) and passed < MAX_ANSWER:
                writer.write(chunk)
                await writer.drain()
                passed += len(chunk)
            if not passed:
                raise _Refusal(502, "Bad Gateway")
        finally:
            upstream.close()


def _plain(refusal: _Refusal, request_id: str) -> bytes:
    body = f"{refusal.phrase}\n"
    return (
        f"HTTP/1.1 {refusal.status} {refusal.phrase}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        f"X-Openstack-Request-Id: {request_id}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
