"""The image service as simulated hosts meet it."""

import hashlib
from typing import TYPE_CHECKING, BinaryIO

from domain.errors import HostFailed, Refused, Unavailable
from domain.neighbours import image
from domain.neighbours.image import Image, ImageUploaded
from handlers.log.repository import Repository

if TYPE_CHECKING:
    from tests.sim.world import World


class SentImages:
    """Takes what is sent, once. Its answer may be lost."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def download(self, image_id: str, _target: object) -> None:
        raise HostFailed(f"Image {image_id} could not be found.")

    async def upload(self, image_id: str, source: BinaryIO) -> None:
        sent = ImageUploaded(
            size=1, virtual_size=1 << 20, checksum="00", hash_value=hashlib.sha512(source.read()).hexdigest()
        )
        self._lose()
        repository: Repository[Image] = Repository(image.KIND, self._world.store("api"), self._world.stamp)

        def decide(known: Image | None) -> ImageUploaded | None:
            return None if known and known.status == "active" else image.upload(known, image_id, sent)

        try:
            await repository.execute(self._world.stamp.own_context(), image.aggregate(image_id), decide)
        except Refused as error:
            raise HostFailed(f"Image {image_id} is not there any more.", error.message) from error
        self._lose()

    def _lose(self) -> None:
        if self._world.weather.stormy and self._world.random.random() < 0.1:
            raise Unavailable("The image service does not answer.")
