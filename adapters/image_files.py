"""The bytes of images over HTTP, from an image service that speaks Glance's API; with the standard library alone,
because a compute host needs no more."""

import asyncio
import json
import shutil
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from domain.errors import HostFailed, Unavailable

TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""
CHUNK = 1024 * 1024


class HttpImageFiles:
    """Downloads with the token of a service user, which it gets from the identity service."""

    def __init__(self, image_url: str, identity_url: str, user: str, password: str, project: str = "service") -> None:
        self._image_url = image_url.rstrip("/")
        self._identity_url = identity_url.rstrip("/")
        self._user = user
        self._password = password
        self._project = project
        self._token: str | None = None

    async def download(self, image_id: str, target: Path) -> None:
        """Write the image's stored bytes to ``target``. Raises HostFailed; Unavailable if trying again may help."""
        await asyncio.to_thread(self._download, image_id, target)

    def _download(self, image_id: str, target: Path) -> None:
        try:
            try:
                self._fetch(image_id, target)
            except urllib.error.HTTPError as error:
                if error.code != 401:
                    raise
                self._token = None
                self._fetch(image_id, target)
        except urllib.error.HTTPError as error:
            if error.code in (403, 404):
                raise HostFailed(f"Image {image_id} could not be found.", f"HTTP {error.code}") from error
            raise Unavailable(f"The image service answers {error.code}.") from error
        except (OSError, HTTPException) as error:
            # Also what the disk says: a full one is found out when the image is checked.
            raise Unavailable(f"The image could not be downloaded: {error}") from error

    def _fetch(self, image_id: str, target: Path) -> None:
        self._token = self._token or self._authenticate()
        url = f"{self._image_url}/v2/images/{image_id}/file"
        request = urllib.request.Request(url, headers={"X-Auth-Token": self._token})  # noqa: S310
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, target.open("wb") as file:  # noqa: S310
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
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            token: str = answer.headers["X-Subject-Token"]
            return token
