"""Changing an image: JSON patch, as Glance takes it, and tags."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adapters.rest.image.bodies import MAX_TAGS, Size, check_formats, check_properties, read_json
from adapters.rest.image.document import (
    RESERVED,
    SETTABLE,
    VISIBILITIES,
    check_visibility,
    document,
    find_own,
)
from adapters.rest.kit.operation import Access, Call, Operations, empty
from adapters.rest.kit.validation import Text255
from domain.errors import Invalid, Refused
from domain.neighbours import image as images
from domain.neighbours.image import Image, ImageUpdated

operations = Operations()


@operations("PATCH", "/v2/images/{image_id}", Access.MEMBER, "modify_image", streamed=True)
async def patch(call: Call) -> Any:
    """Apply ``[{"op": "replace", "path": "/name", "value": …}, …]``."""
    if "json-patch" not in call.headers.get("content-type", ""):
        raise Refused("media_type", "Unsupported Content-Type: a JSON patch is wanted.", status=415)
    steps = await read_json(call)
    if not isinstance(steps, list):
        raise Invalid("Request body must be a JSON array of operation objects.")
    image = find_own(call)
    changed = await _execute(call, image.id, lambda known: _patched(call, known, steps))
    return document(changed)


@operations("PUT", "/v2/images/{image_id}/tags/{tag}", Access.MEMBER, "modify_image", status=204)
async def add_tag(call: Call) -> Any:
    tag = call.params["tag"]
    await _execute(call, find_own(call).id, lambda known: _update(known, tags=_with_tag(known, tag)))
    return empty(204)


def _with_tag(image: Image, tag: str) -> tuple[str, ...]:
    if tag not in image.tags and len(image.tags) >= MAX_TAGS:
        raise Refused("image.tags", f"The limit of {MAX_TAGS} tags is exceeded.", status=413)
    return (*image.tags, tag)


@operations("DELETE", "/v2/images/{image_id}/tags/{tag}", Access.MEMBER, "modify_image", status=204)
async def remove_tag(call: Call) -> Any:
    tag = call.params["tag"]
    image = find_own(call)
    if tag not in image.tags:
        raise Refused("tag.not_found", f"Image {image.id} has no tag {tag}.", status=404)
    await _execute(
        call, image.id, lambda known: _update(known, tags=tuple(each for each in known.tags if each != tag))
    )
    return empty(204)


async def _execute(call: Call, image_id: str, decide: Callable[[Image], ImageUpdated]) -> Image:
    image, accepted = await call.services.registry.execute(
        call.context,
        images.aggregate(image_id),
        lambda known: images.update(known, image_id, decide(images.existing(known, image_id))),
    )
    await call.settle(accepted)
    assert isinstance(image, Image)
    return image


def _update(image: Image, **changes: Any) -> ImageUpdated:
    fields: dict[str, Any] = {name: getattr(image, name) for name in ImageUpdated.__struct_fields__} | changes
    fields["tags"] = tuple(sorted(set(fields["tags"])))
    return ImageUpdated(**fields)


def _patched(call: Call, image: Image, steps: list[Any]) -> ImageUpdated:
    fields: dict[str, Any] = {
        "name": image.name,
        "visibility": image.visibility,
        "protected": image.protected,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "min_disk": image.min_disk_gb,
        "min_ram": image.min_ram_mb,
        "tags": list(image.tags),
    }
    properties: dict[str, Any] = dict(image.properties)
    for step in steps:
        op, name, value = _step(step)
        if name in RESERVED:
            raise Refused("image.read_only", f"Attribute '{name}' is read-only.", status=403)
        if name in SETTABLE:
            if op == "remove":
                raise Refused("image.base_property", f"Attribute '{name}' cannot be removed.", status=403)
            fields[name] = value
        elif op == "remove":
            if properties.pop(name, None) is None:
                raise Refused("property.not_found", f"Property {name} does not exist.", status=409)
        else:
            properties[name] = value
    _check_fields(fields)
    if fields["visibility"] != image.visibility:
        check_visibility(call, fields["visibility"])
    formats = fields["disk_format"], fields["container_format"]
    if image.status != "queued" and formats != (image.disk_format, image.container_format):
        raise Refused("image.formats", "The formats of an image cannot change once its data is there.", status=403)
    check_formats(*formats)
    fields["min_disk_gb"], fields["min_ram_mb"] = fields.pop("min_disk"), fields.pop("min_ram")
    return _update(image, **fields, properties=check_properties(properties))


def _step(step: Any) -> tuple[str, str, Any]:
    try:
        op, path = step["op"], step["path"]
        value = step["value"] if op != "remove" else None
    except (TypeError, KeyError):
        raise Invalid("Operations must be JSON objects with op, path and value.") from None
    if op not in ("add", "replace", "remove"):
        raise Invalid(f"Operations must be add, replace or remove, not {op!r}.")
    if not (isinstance(path, str) and path.startswith("/") and "/" not in path[1:] and path[1:]):
        raise Invalid(f"Invalid path {path!r}: it must be one attribute of the image.")
    return op, path[1:].replace("~1", "/").replace("~0", "~"), value


class _Fields(msgspec.Struct):
    name: Text255 | None
    visibility: str
    protected: bool
    disk_format: str | None
    container_format: str | None
    min_disk: Size
    min_ram: Size
    tags: Annotated[list[Text255], Meta(max_length=MAX_TAGS)]


def _check_fields(fields: dict[str, Any]) -> None:
    try:
        checked = msgspec.convert(fields, _Fields)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from None
    if checked.visibility not in VISIBILITIES:
        raise Invalid(f"Invalid visibility value: {checked.visibility}")
