"""Vendor data: what the operator wants every guest to have. Static from a file, dynamic from REST endpoints.

https://docs.openstack.org/nova/latest/admin/vendordata.html
"""

import asyncio
import json
import logging
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

import msgspec

from domain.errors import Invalid, Unavailable
from domain.server.state import Server, guest_name
from handlers.context import current_request
from handlers.servers.guest_secrets import Secrets
from handlers.together import together

Json = dict[str, Any]
MAX_ANSWER = 1 << 20
"""Bytes of one endpoint's answer."""

log = logging.getLogger(__name__)


class Target(msgspec.Struct, frozen=True):
    """An endpoint, and the name under which its answer stands in ``vendor_data2.json``."""

    name: str
    url: str

    @classmethod
    def parse(cls, text: str) -> "Target":
        """From Nova's form ``name@http://…``. Raises Invalid."""
        name, sign, url = text.partition("@")
        if not (name and sign and url.startswith(("http://", "https://"))):
            raise Invalid(f"vendor data target {text!r} must have the form name@http://host/path")
        return cls(name, url)


class VendorData:
    """Both kinds. ``fatal`` makes a failing endpoint a failure of the whole document."""

    def __init__(
        self, file: Path | None = None, targets: tuple[Target, ...] = (), *, timeout: float = 5.0, fatal: bool = False
    ) -> None:
        self.static = _read(file) if file else {}
        self._targets = targets
        self._timeout = timeout
        self._fatal = fatal

    async def dynamic(self, server: Server, secrets: Secrets) -> Json:
        """``vendor_data2.json``: every endpoint's answer under its name, and the static data as ``static``.

        The endpoints are asked at once. One that fails is left empty, unless failures are fatal: then
        raises Unavailable.
        """
        question = msgspec.json.encode(
            {
                "project-id": server.project_id,
                "instance-id": server.id,
                "image-id": server.image.id if server.image else None,
                "user-data": secrets.user_data,
                "hostname": guest_name(server),
                "metadata": server.metadata,
                "boot-roles": None,
            }
        )
        answers = await together(*(self._ask(target, question) for target in self._targets))
        joined: Json = {"static": self.static} if self.static else {}
        return joined | {target.name: answer for target, answer in zip(self._targets, answers, strict=True)}

    async def _ask(self, target: Target, question: bytes) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.to_thread(_post, target.url, question, current_request.get(), self._timeout)
        except (OSError, HTTPException, ValueError) as error:
            log.warning("vendor data endpoint %s: %s", target.name, error or type(error).__name__)
            if self._fatal:
                raise Unavailable(f"The vendor data endpoint {target.name} does not answer.") from error
            return {}


def _post(url: str, body: bytes, request_id: str, timeout: float) -> Any:
    headers = {"Content-Type": "application/json", "Accept": "application/json", "X-Openstack-Request-Id": request_id}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - the operator's
    with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
        content = answer.read(MAX_ANSWER + 1)
    if len(content) > MAX_ANSWER:
        raise ValueError(f"the answer is longer than {MAX_ANSWER} bytes")
    return json.loads(content) if content.strip() else {}


def _read(file: Path) -> Json:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise Invalid(f"vendor data file {file}: {error}") from None
    if not isinstance(found, dict):
        raise Invalid(f"vendor data file {file} must hold a JSON object")
    return found
