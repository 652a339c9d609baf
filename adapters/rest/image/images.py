"""Listing, showing, announcing and deleting images; and version discovery."""

import contextlib
from typing import Any
from urllib.parse import urlencode

from msgspec import UNSET

from adapters.rest.image import stock
from adapters.rest.image.access import usable_images
from adapters.rest.image.bodies import read_new_image
from adapters.rest.image.document import check_visibility, document, find, find_own
from adapters.rest.image.files import ImageFile
from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.paging import MAX_PAGE, page_limit
from adapters.rest.kit.validation import identifier
from domain.errors import Invalid
from domain.neighbours import image as images
from domain.neighbours.image import ACCEPTED, MEMBER_STATUSES, Image, ImageCreated
from handlers.neighbours.images import may_use

operations = Operations()

DEFAULT_PAGE = 25
MAX_DIGITS = 20
CONTROLS = frozenset(("limit", "marker", "sort", "sort_key", "sort_dir", "member_status", "os_hidden"))
SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")


def _version(call: Call, identity: str, status: str) -> dict[str, Any]:
    href = f"{call.services.settings.public_url}/image/v2/"
    return {"id": identity, "status": status, "links": [{"rel": "self", "href": href}]}


@operations("GET", "/", Access.PUBLIC, "versions", status=300)
async def versions(call: Call) -> Any:
    older = [_version(call, f"v2.{minor}", "SUPPORTED") for minor in (7, 6, 5, 4, 3, 2, 1, 0)]
    return {"versions": [_version(call, "v2.9", "CURRENT"), *older]}


@operations("GET", "/versions", Access.PUBLIC, "versions")
async def more_versions(call: Call) -> Any:
    """The same, with another status."""
    return await versions(call)


@operations("GET", "/v2/images", Access.READER, "get_images")
async def index(call: Call) -> Any:
    """Images, the newest first."""
    query = call.query
    if query.get("member_status", "all") not in (*MEMBER_STATUSES, "all"):
        raise Invalid(f"Invalid status: {query['member_status']}")
    found = [image for image in usable_images(call) if _listed(call, image)]
    for name, value in query.multi_items():
        if name not in CONTROLS:
            found = [image for image in found if _matches(image, name, value)]
    _sort(call, found)
    asked = page_limit(query)
    limit = DEFAULT_PAGE if asked is None else min(asked, MAX_PAGE)
    start = 0
    if "marker" in query:
        start = next((at + 1 for at, image in enumerate(found) if image.id == query["marker"]), -1)
        if start < 0:
            raise Invalid("Invalid marker. Image could not be found.")
    page = found[start : start + limit]
    answer: dict[str, Any] = {
        "images": [document(image) for image in page],
        "schema": "/v2/schemas/images",
        "first": _link(call, None),
    }
    if page and start + limit < len(found):
        answer["next"] = _link(call, page[-1].id)
    return answer


def _link(call: Call, marker: str | None) -> str:
    pairs = [(name, value) for name, value in call.query.multi_items() if name != "marker"]
    pairs += [("marker", marker)] if marker else []
    return f"/v2/images?{urlencode(pairs)}" if pairs else "/v2/images"


def _listed(call: Call, image: Image) -> bool:
    """Whether it is in the caller's list: others' community images are only there when asked for, and what is shared
    with it only where it has answered so."""
    if not may_use(call.context, image):
        return False
    if image.owner == call.context.project_id:
        return True
    if member := image.member(call.context.project_id):
        return call.query.get("member_status", ACCEPTED) in (member.status, "all")
    return image.visibility != "community" or call.query.get("visibility") in ("community", "all")


def _matches(image: Image, name: str, value: str) -> bool:
    if name == "visibility" and value == "all":
        return True
    if name == "tag":
        return value in image.tags
    if name in ("size_min", "size_max"):
        if not (value.isdecimal() and len(value) < MAX_DIGITS):
            raise Invalid(f"Invalid value for {name}: {value}")
        size = image.size or 0
        return size >= int(value) if name == "size_min" else size <= int(value)
    has = document(image).get(name)
    if isinstance(has, bool):
        return str(has).lower() == value.lower()
    if value.startswith("in:"):
        return str(has) in [part.strip('"') for part in value[3:].split(",")]
    return str(has) == value


def _sort(call: Call, found: list[Image]) -> None:
    """By ``sort=name:asc,size:desc`` or by sort_key and sort_dir; else the newest first."""
    found.sort(key=lambda image: (image.created_at, image.id), reverse=True)
    pairs = [part.partition(":")[::2] for part in call.query.get("sort", "").split(",") if part]
    if not pairs:
        directions = call.query.getlist("sort_dir")
        keys = call.query.getlist("sort_key")
        pairs = [(key, directions[min(at, len(directions) - 1)] if directions else "") for at, key in enumerate(keys)]
    for key, direction in reversed(pairs):
        if key not in SORT_KEYS or direction not in ("", "asc", "desc"):
            raise Invalid(f"Invalid sort key or direction: {key}:{direction}")
        _sort_by(found, key, descending=(direction or "desc") == "desc")


def _sort_by(found: list[Image], key: str, *, descending: bool) -> None:
    """Images without a value come first, or last if descending."""

    def value(image: Image) -> tuple[Any, ...]:
        has = getattr(image, key)
        return () if has is None else (has,)

    found.sort(key=value, reverse=descending)


@operations("GET", "/v2/images/{image_id}", Access.READER, "get_image")
async def show(call: Call) -> Any:
    return document(find(call))


@operations("POST", "/v2/images", Access.MEMBER, "add_image", status=201, streamed=True)
async def create(call: Call) -> Reply:
    """Announce an image; its bytes come later."""
    asked, properties = await read_new_image(call)
    image_id = asked.id if asked.id is not UNSET else call.services.stamp.ids.uuid()
    identifier("id", image_id)
    stock.check_count(call)
    check_visibility(call, asked.visibility)
    event = ImageCreated(
        image_id=image_id,
        name=asked.name,
        owner=call.context.project_id or "",
        disk_format=asked.disk_format,
        container_format=asked.container_format,
        visibility=asked.visibility,
        protected=asked.protected,
        min_disk_gb=asked.min_disk,
        min_ram_mb=asked.min_ram,
        tags=tuple(sorted(set(asked.tags))),
        properties=properties,
    )
    image, accepted = await call.services.registry.execute(
        call.context, images.aggregate(image_id), lambda known: images.create(known, event)
    )
    await call.settle(accepted)
    location = f"{call.services.settings.public_url}/image/v2/images/{image_id}"
    return Reply(document(image), headers={"Location": location})


@operations("DELETE", "/v2/images/{image_id}", Access.MEMBER, "delete_image", status=204)
async def delete(call: Call) -> None:
    """Delete an image. Its file goes after the event: a file too many is harmless, one too few is not."""
    image = find_own(call)
    _, accepted = await call.services.registry.execute(
        call.context, images.aggregate(image.id), lambda known: images.delete(known, image.id)
    )
    with contextlib.suppress(FileNotFoundError):
        ImageFile(call.services.settings.images_dir, image.id).path.unlink()
    await call.settle(accepted)
