"""Uploading and downloading the bytes of an image, as a stream."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse

from adapters.image_files import TICKET_HEADER
from adapters.rest.image.document import find, find_own
from adapters.rest.image.files import ImageFile, Part, Stored
from adapters.rest.image.formats import inspect
from adapters.rest.image.stock import Allowance
from adapters.rest.kit.limits import Disconnected
from adapters.rest.kit.operation import Access, Call, Operations, empty
from domain.errors import Refused, Unavailable, not_found
from domain.neighbours import image as images
from domain.neighbours.image import Image, ImageUploaded
from handlers.host.image_tickets import SENDING

log = logging.getLogger(__name__)

operations = Operations()

CHUNK = 1 << 20
"""Bytes written to the disk at once."""

SILENT_SECONDS = 60.0
"""After which an upload is given up."""
PATH = "/v2/images/{image_id}/file"


@operations("PUT", PATH, Access.MEMBER, "upload_image", status=204, streamed=True)
async def upload(call: Call) -> Any:
    """Store the bytes; only once."""
    media_type = call.headers.get("content-type", "").partition(";")[0].strip()
    if media_type != "application/octet-stream":
        raise Refused("media_type", "Unsupported Content-Type: application/octet-stream is wanted.", status=415)
    return await _store(call, find_own(call))


async def _store(call: Call, image: Image) -> Any:
    # Refused now rather than after a long upload; the event decides it again.
    images.upload(image, image.id, ImageUploaded(size=0, virtual_size=0, checksum="", hash_value=""))
    assert image.disk_format
    allowance = Allowance(call, image)
    file = ImageFile(call.services.settings.images_dir, image.id)
    part = await asyncio.to_thread(file.open_part)
    try:
        stored = await _receive(call, part, allowance)
        virtual_size = inspect(image.disk_format, stored.head, stored.size)
        await _publish(call, file, image.id, stored, virtual_size)
    except OSError as error:
        log.exception("the data of image %s could not be stored", image.id)
        raise Unavailable(f"The image's data could not be stored: {error.strerror}.") from error
    finally:
        part.close()
    return empty(204)


@operations("PUT", "/lightcurve/{image_id}/file", Access.PUBLIC, "upload_image_by_ticket", status=204, streamed=True)
async def upload_by_ticket(call: Call) -> Any:
    """Store the bytes, from a host that was given a ticket with a command. What is there already is what it has sent
    before, when its answer was lost."""
    image_id = call.params["image_id"]
    host = call.services.tickets.holder(call.headers.get(TICKET_HEADER, ""), image_id, SENDING)
    if host is None:
        raise not_found("Image", image_id)
    log.info("image %s is sent by host %s", image_id, host)
    async with _heard_out(call):
        image = images.existing(call.services.registry.of(images.KIND, image_id), image_id)
        return await _store(call, image) if image.status == "queued" else empty(204)


@asynccontextmanager
async def _heard_out(call: Call) -> AsyncIterator[None]:
    """Read all that is sent before it is answered: who is still sending sees a broken connection instead of a reason,
    and would send it all again."""
    receive, more = call.receive, True

    async def hear() -> Any:
        nonlocal more
        message = await receive()
        more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    call.receive = hear
    try:
        yield
    except Disconnected:
        more = False
        raise
    finally:
        while more:
            await _next(call)


async def _receive(call: Call, part: Part, allowance: Allowance) -> Stored:
    waiting: list[bytes] = []
    size = 0
    while True:
        message = await _next(call)
        if message["type"] == "http.disconnect":
            raise Disconnected("The caller went away.")
        body: bytes = message.get("body", b"")
        waiting.append(body)
        size += len(body)
        allowance.take(len(body))
        if size >= CHUNK:
            await asyncio.to_thread(part.write, b"".join(waiting))
            waiting, size = [], 0
        if not message.get("more_body"):
            break
    await asyncio.to_thread(part.write, b"".join(waiting))
    return await asyncio.to_thread(part.flush)


async def _next(call: Call) -> Any:
    """Who sends nothing any more, and says no farewell, must not keep another from sending it."""
    try:
        async with asyncio.timeout(SILENT_SECONDS):
            return await call.receive()
    except TimeoutError:
        raise Disconnected("The caller sends nothing any more.") from None


async def _publish(call: Call, file: ImageFile, image_id: str, stored: Stored, virtual_size: int) -> None:
    """The file gets its name before the event says that it is there. A file that is there already is a leftover
    of a crash, or the image has been filled meanwhile: then the event is tried first, as the log knows."""
    event = ImageUploaded(size=stored.size, virtual_size=virtual_size, checksum=stored.md5, hash_value=stored.sha512)
    leftover = file.is_there()
    if not leftover:
        file.publish(replace=False)
    try:
        _, accepted = await call.services.registry.execute(
            call.context, images.aggregate(image_id), lambda known: images.upload(known, image_id, event)
        )
    except Refused:
        if not leftover:
            file.path.unlink(missing_ok=True)
        raise
    if leftover:
        file.publish(replace=True)
    await call.settle(accepted)


@operations("GET", PATH, Access.READER, "download_image")
async def download(call: Call) -> Any:
    """The bytes, also in ranges."""
    image = find(call)
    if image.status == "deactivated" and not call.is_admin:
        raise Refused("image.deactivated", "The requested image has been deactivated.", status=403)
    return empty(204) if image.status == "queued" else await _file(call, image)


@operations("GET", "/lightcurve/{image_id}/file", Access.PUBLIC, "download_image_by_ticket")
async def download_by_ticket(call: Call) -> Any:
    """The bytes, for a host that was given a ticket with a command; nobody else learns what there is. A server
    that is there goes on, also elsewhere, when its image has been deactivated."""
    image_id = call.params["image_id"]
    host = call.services.tickets.holder(call.headers.get(TICKET_HEADER, ""), image_id)
    image = call.services.registry.of(images.KIND, image_id) if host else None
    if image is None or image.status not in ("active", "deactivated"):
        raise not_found("Image", image_id)
    log.info("image %s is fetched by host %s", image_id, host)
    return await _file(call, image)


async def _file(call: Call, image: Image) -> FileResponse:
    path: Path = ImageFile(call.services.settings.images_dir, image.id).path
    if not await asyncio.to_thread(path.exists):
        raise Unavailable(f"The data of image {image.id} is not there.")
    headers = {"Content-MD5": image.checksum} if image.checksum else {}
    return FileResponse(path, media_type="application/octet-stream", headers=headers)
