"""What stands at a path: both trees, as a guest sees them."""

import time
from collections import OrderedDict
from typing import NamedTuple

from adapters.metadata import ec2_tree, openstack_tree
from adapters.metadata.openstack_tree import encode
from adapters.metadata.vendor_data import VendorData
from domain.server.state import Server
from handlers.metadata import Passwords, ServerFacts

JSON, TEXT, BYTES = "application/json", "text/plain; charset=utf-8", "application/octet-stream"
KEPT_SECONDS = 15.0
"""How long a page is answered from memory while its server does not change; Nova keeps it as long."""
KEPT_SERVERS = 2_000
ROOT = "\n".join([*ec2_tree.VERSIONS, "openstack"])


class Page(NamedTuple):
    """A document and its type."""

    media_type: str
    body: bytes


class _Kept:
    def __init__(self, version: int) -> None:
        self.version = version
        self.until = time.monotonic() + KEPT_SECONDS
        self.pages: dict[tuple[str, ...], Page | None] = {}


class Pages:
    """Answers for any server; pages are kept for a short while, and forgotten when their server changes."""

    def __init__(self, facts: ServerFacts, passwords: Passwords, vendor: VendorData) -> None:
        self._facts = facts
        self._passwords = passwords
        self._vendor = vendor
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def page(self, server: Server, parts: tuple[str, ...]) -> Page | None:
        """The page at a path; None if there is none. Raises Unavailable."""
        kept = self._kept.get(server.id)
        if kept is None or kept.version != server.version or kept.until < time.monotonic():
            kept = self._kept[server.id] = _Kept(server.version)
            if len(self._kept) > KEPT_SERVERS:
                self._kept.popitem(last=False)
        if parts not in kept.pages:
            made = await self._make(server, parts)
            if made is None:
                # Guests may ask for any name; only what exists is worth keeping.
                return None
            kept.pages[parts] = made
        return kept.pages[parts]

    async def config_drive(self, server: Server) -> dict[str, bytes]:
        """Every file of its config drive, by path. Raises Unavailable."""
        secrets = await self._facts.secrets(server)
        vendor2 = await self._vendor.dynamic(server, secrets)
        return openstack_tree.config_drive(server, secrets, self._vendor.static, vendor2)

    async def _make(self, server: Server, parts: tuple[str, ...]) -> Page | None:
        match parts:
            case ():
                return _text(ROOT)
            case ("openstack",):
                return _text("\n".join(openstack_tree.VERSIONS))
            case ("openstack", "content", name):
                return _bytes(openstack_tree.content(await self._facts.secrets(server), name))
            case ("openstack", version, *rest) if version in openstack_tree.VERSIONS and len(rest) <= 1:
                return await self._openstack(server, version, rest[0] if rest else None)
            case (version, *rest) if version in ec2_tree.VERSIONS:
                return await self._ec2(server, rest)
        return None

    async def _openstack(self, server: Server, version: str, name: str | None) -> Page | None:
        if name is None:
            return _text("\n".join(openstack_tree.index(version)))
        if name not in openstack_tree.index(version):
            return None
        if name == "network_data.json":
            return Page(JSON, encode(openstack_tree.network_data(server.nics)))
        if name == "vendor_data.json":
            return Page(JSON, encode(self._vendor.static))
        if name == "password":
            return _text(await self._passwords.read(server))
        secrets = await self._facts.secrets(server)
        if name == "user_data":
            return _bytes(openstack_tree.user_data(secrets))
        if name == "vendor_data2.json":
            return Page(JSON, encode(await self._vendor.dynamic(server, secrets)))
        return Page(JSON, encode(openstack_tree.meta_data(server, secrets, version)))

    async def _ec2(self, server: Server, rest: list[str]) -> Page | None:
        match rest:
            case []:
                secrets = await self._facts.secrets(server)
                return _text("meta-data/" + ("\nuser-data" if secrets.user_data is not None else ""))
            case ["user-data"]:
                return _bytes(openstack_tree.user_data(await self._facts.secrets(server)))
            case ["meta-data", *path]:
                found = ec2_tree.page(ec2_tree.meta_data(server), path, server.key_name)
                return None if found is None else _text(found)
        return None


def is_password(parts: tuple[str, ...]) -> bool:
    """Whether this is where a guest posts its password."""
    match parts:
        case ("openstack", version, "password"):
            return version in openstack_tree.VERSIONS and "password" in openstack_tree.index(version)
    return False


def split(path: str) -> tuple[str, ...] | None:
    """The parts of a path; None for one that is up to tricks."""
    parts = tuple(part for part in path.split("/") if part)
    tricks = any(part in (".", "..") or "\\" in part or "\0" in part for part in parts)
    return None if tricks else parts


def _text(text: str) -> Page:
    return Page(TEXT, text.encode())


def _bytes(content: bytes | None) -> Page | None:
    return None if content is None else Page(BYTES, content)
