"""How simulated hosts send images to the API of the same process: by ticket, as real ones do."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from adapters.image_files import TICKET_HEADER
from domain.errors import HostFailed
from tests.adapters.rest.client import Client


class SentImages:
    """Promises what ``handlers.ports.ImageFiles`` does."""

    def __init__(self, app: Callable[[], Any]) -> None:
        self._app = app
        self._tickets: dict[str, str] = {}

    def keep(self, tickets: Mapping[str, str]) -> None:
        self._tickets.update(tickets)

    async def download(self, image_id: str, target: Path) -> None:
        raise HostFailed(f"Image {image_id} could not be found.")

    async def upload(self, image_id: str, source: BinaryIO) -> None:
        headers = {TICKET_HEADER: self._tickets[image_id], "content-type": "application/octet-stream"}
        path = f"/image/lightcurve/{image_id}/file"
        answer = await Client(self._app(), None).request("PUT", path, headers=headers, chunks=[source.read()])
        if answer.status != 204:
            raise HostFailed(f"Image {image_id} is not there any more.", f"HTTP {answer.status}")
