"""The service itself: an ASGI application that believes signatures, never guests.

It is asked by the proxies of our hosts, or by Neutron's metadata agents; whoever asks without their signature
learns nothing, not even what exists.
"""

import base64
import logging
from collections.abc import Callable, Mapping

import msgspec
from starlette.types import Message, Receive, Scope, Send

from adapters.metadata import pages, signing
from adapters.metadata.pages import Page, Pages
from domain.errors import Invalid, LightcurveError, Refused
from domain.server.state import Server, places
from handlers.context import Context, Stamp, current_request
from handlers.metadata import Passwords, ServerFacts

log = logging.getLogger(__name__)

MAX_PASSWORD = 1020
"""Bytes: as much as Nova keeps."""
NOTHING = Refused("metadata.not_found", "There is nothing here.", status=404)


class MetadataService:
    """One process's share of it. Keeps no state but caches; any number may run.

    A host is believed by its own secret, for guests that the log has on it. ``shared_secret`` is what Neutron's
    agents sign with, who are believed for every guest, but are given no config drive; None: there are none.
    """

    def __init__(
        self,
        facts: ServerFacts,
        passwords: Passwords,
        served: Pages,
        host_secret: Callable[[str], bytes | None],
        shared_secret: bytes | None,
        stamp: Stamp,
    ) -> None:
        self._facts = facts
        self._passwords = passwords
        self._pages = served
        self._host_secret = host_secret
        self._shared_secret = shared_secret
        self._stamp = stamp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = f"req-{self._stamp.ids.uuid()}"
        current_request.set(request_id)
        try:
            page = await self._answer(scope, receive, headers)
            status = 200
        except LightcurveError as error:
            # Guests decide how often they ask for nothing.
            log.log(logging.DEBUG if error.status == 404 else logging.INFO, "%s %s from %s refused: %d %s",
                    scope["method"], scope["path"][:200], headers.get(signing.FORWARDED_FOR), error.status,
                    error.code, extra={"source": headers.get(signing.FORWARDED_FOR)})  # fmt: skip
            status, page = error.status, Page("text/plain", f"{error.message}\n".encode())
        except Exception:
            log.exception("%s %s", scope["method"], scope["path"][:200])
            status, page = 500, Page("text/plain", b"The metadata service failed.\n")
        answered = [
            (b"content-type", page.media_type.encode()),
            (b"content-length", b"%d" % len(page.body)),
            (b"x-openstack-request-id", request_id.encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": answered})
        await send({"type": "http.response.body", "body": page.body})

    async def _answer(self, scope: Scope, receive: Receive, headers: Mapping[str, str]) -> Page:
        path: str = scope["path"]
        if path == signing.CONFIG_DRIVE_PATH:
            return await self._config_drive(headers)
        server = await self._guest(headers)
        parts = pages.split(path)
        if parts is None:
            raise NOTHING
        if scope["method"] == "POST":
            return await self._post_password(server, parts, receive)
        if scope["method"] not in ("GET", "HEAD"):
            raise Refused("method.not_allowed", "Only GET is allowed here.", status=405)
        page = await self._pages.page(server, parts)
        if page is None:
            raise NOTHING
        return page

    async def _guest(self, headers: Mapping[str, str]) -> Server:
        """Whom the signature names. Raises Refused: 404 as if there were nothing, 403 for a wrong signature."""
        server_id = headers.get(signing.INSTANCE_ID)
        if server_id is None:
            raise NOTHING
        if not self._is_signed(headers, server_id):
            raise Refused("metadata.signature", "Invalid proxy request signature.", status=403)
        server = await self._facts.server(server_id)
        if server is None or server.project_id != headers.get(signing.TENANT_ID):
            raise NOTHING
        if headers.get(signing.HOST, server.host) not in {host for host, _ in places(server)}:
            raise NOTHING
        address = headers.get(signing.FORWARDED_FOR, "").split(",")[0].strip()
        if address not in {nic.ip_address for nic in server.nics}:
            raise NOTHING
        return server

    async def _config_drive(self, headers: Mapping[str, str]) -> Page:
        """All at once, for the host that builds the guest."""
        server_id = headers.get(signing.INSTANCE_ID, "")
        signed = signing.CONFIG_DRIVE + server_id
        if signing.HOST not in headers or not self._is_signed(headers, signed):
            raise NOTHING
        # A drive is made once: it must tell what the request that it is made for has changed.
        server = await self._facts.present(server_id)
        if server is None or headers[signing.HOST] not in {host for host, _ in places(server)}:
            # Where it is on its way to it is made, too.
            raise NOTHING
        files = await self._pages.config_drive(server)
        encoded = {path: base64.b64encode(content).decode() for path, content in files.items()}
        return Page(pages.JSON, msgspec.json.encode(encoded))

    def _is_signed(self, headers: Mapping[str, str], what: str) -> bool:
        host = headers.get(signing.HOST)
        secret = self._shared_secret if host is None else self._host_secret(host)
        return secret is not None and signing.is_signed(secret, what, headers.get(signing.SIGNATURE, ""))

    async def _post_password(self, server: Server, parts: tuple[str, ...], receive: Receive) -> Page:
        if not pages.is_password(parts):
            raise NOTHING
        body = await _read(receive)
        try:
            password = body.decode("ascii")
        except UnicodeDecodeError:
            raise Invalid("The password must be encrypted, and in base64.") from None
        context = Context(request_id=current_request.get(), user_id=server.user_id, project_id=server.project_id)
        await self._passwords.post(context, server.id, password)
        return Page("text/plain", b"")


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message: Message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_PASSWORD:
            raise Refused("metadata.too_large", f"At most {MAX_PASSWORD} bytes are kept.", status=413)
        if not message.get("more_body"):
            return body
