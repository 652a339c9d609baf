"""The bytes of images over HTTP, from and to an image service that speaks Glance's API; with the standard library
alone, because a compute host needs no more."""

import asyncio
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from domain.errors import HostFailed, Unavailable

TIMEOUT = 30.0
"""Seconds without a byte after which a download, or an upload, is given up."""
UPLOAD_TIMEOUT = 120.0
"""The same for an upload: the service answers when all is on its disk."""
MAX_SAID = 2000
"""Bytes of an answer that are repeated."""
CHUNK = 1024 * 1024
MAX_TICKETS = 10_000
"""Images whose tickets are remembered; the oldest makes room."""
TICKET_HEADER = "X-Lightcurve-Image-Ticket"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows none: what proves who we are is for the service that was configured."""

    def redirect_request(self, *_: object) -> None:
        return


_opener = urllib.request.build_opener(_NoRedirect)


def _not_taken(image_id: str, error: urllib.error.HTTPError) -> HostFailed | Unavailable:
    if error.code in (403, 404):
        return HostFailed(f"Image {image_id} is not there any more.", f"HTTP {error.code}")
    if error.code in (400, 413):
        said = error.read(MAX_SAID).decode(errors="replace")
        return HostFailed("The image service did not take the image: it is too large, or not as it should be.", said)
    return Unavailable(f"The image service answers {error.code}.")


class HttpImageFiles:
    """Downloads by the ticket that came with a command; where none did, with the token of a service user, which it
    gets from the identity service."""

    def __init__(
        self, image_url: str, identity_url: str = "", user: str = "", password: str = "", project: str = "service"
    ) -> None:
        self._image_url = image_url.rstrip("/")
        self._identity_url = identity_url.rstrip("/")
        self._user = user
        self._password = password
        self._project = project
        self._token: str | None = None
        self._tickets: dict[str, str] = {}

    def keep(self, tickets: Mapping[str, str]) -> None:
        """Remember what opens images, by image."""
        for image_id, ticket in tickets.items():
            self._tickets.pop(image_id, None)
            self._tickets[image_id] = ticket
        while len(self._tickets) > MAX_TICKETS:
            del self._tickets[next(iter(self._tickets))]

    async def download(self, image_id: str, target: Path) -> None:
        await asyncio.to_thread(self._download, image_id, target)

    async def upload(self, image_id: str, source: BinaryIO) -> None:
        await asyncio.to_thread(self._upload, image_id, source)

    def _upload(self, image_id: str, source: BinaryIO) -> None:
        """By ticket only: nobody else may fill an image that is not his."""
        ticket = self._tickets.get(image_id)
        if ticket is None:
            raise HostFailed(f"Image {image_id} could not be sent.", "no ticket came with the command")
        headers = {
            TICKET_HEADER: ticket,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(source.seek(0, os.SEEK_END)),
        }
        source.seek(0)
        request = urllib.request.Request(  # noqa: S310
            f"{self._image_url}/lightcurve/{image_id}/file", data=source, headers=headers, method="PUT"
        )
        try:
            with _opener.open(request, timeout=UPLOAD_TIMEOUT):
                pass
        except urllib.error.HTTPError as error:
            raise _not_taken(image_id, error) from error
        except (OSError, HTTPException) as error:
            raise Unavailable(f"The image could not be sent: {error}") from error

    def _download(self, image_id: str, target: Path) -> None:
        try:
            ticket = self._tickets.get(image_id)
            if ticket is not None:
                self._fetch(f"lightcurve/{image_id}/file", {TICKET_HEADER: ticket}, target)
            elif self._password:
                self._download_as_user(f"v2/images/{image_id}/file", target)
            else:
                raise HostFailed(f"Image {image_id} could not be found.", "no ticket came with the command")
        except urllib.error.HTTPError as error:
            if error.code in (403, 404):
                raise HostFailed(f"Image {image_id} could not be found.", f"HTTP {error.code}") from error
            raise Unavailable(f"The image service answers {error.code}.") from error
        except (OSError, HTTPException) as error:
            # Also what the disk says: a full one is found out when the image is checked.
            raise Unavailable(f"The image could not be downloaded: {error}") from error

    def _download_as_user(self, path: str, target: Path) -> None:
        for last in (False, True):
            self._token = self._token or self._authenticate()
            try:
                self._fetch(path, {"X-Auth-Token": self._token}, target)
                return
            except urllib.error.HTTPError as error:
                if error.code != 401 or last:
                    raise
                self._token = None

    def _fetch(self, path: str, headers: dict[str, str], target: Path) -> None:
        request = urllib.request.Request(f"{self._image_url}/{path}", headers=headers)  # noqa: S310
        with _opener.open(request, timeout=TIMEOUT) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file, CHUNK)

    def _authenticate(self) -> str:
        domain = {"id": "default"}
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {"user": {"name": self._user, "domain": domain, "password": self._password}},
                },
                "scope": {"project": {"name": self._project, "domain": domain}},
            }
        }
        request = urllib.request.Request(  # noqa: S310
            f"{self._identity_url}/auth/tokens",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with _opener.open(request, timeout=TIMEOUT) as answer:
            token: str = answer.headers["X-Subject-Token"]
            return token
