"""The bodies of the image API, in which a property is any field that Glance does not know."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from adapters.rest.image.document import CONTAINERS, FORMATS, RESERVED, SETTABLE
from adapters.rest.kit.gate import check_document
from adapters.rest.kit.limits import receive_body
from adapters.rest.kit.operation import Call
from adapters.rest.kit.validation import UNREADABLE, Text255, explain
from domain import image_properties
from domain.errors import Invalid, Refused
from domain.text import can_be_a_name

MAX_PROPERTIES = 128
MAX_PROPERTY = 65535
"""Characters."""
MAX_TAGS = 128
Size = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class NewImage(msgspec.Struct):
    """An image that is announced. Whatever else the body has is a property."""

    id: Text255 | UnsetType = UNSET
    name: Text255 | None = None
    disk_format: Text255 | None = None
    container_format: Text255 | None = None
    visibility: Literal["public", "private", "shared", "community"] = "shared"
    protected: bool = False
    min_disk: Size = 0
    min_ram: Size = 0
    tags: Annotated[list[Text255], Meta(max_length=MAX_TAGS)] = []


_new_image = msgspec.json.Decoder(NewImage)


async def read_json(call: Call) -> Any:
    """The body as JSON; raises Invalid."""
    raw = await receive_body(call.scope, call.receive)
    call.services.limits.large_bodies.take(call.context.project_id, raw)
    check_document(raw)
    try:
        return msgspec.json.decode(raw)
    except UNREADABLE:
        raise Invalid("Malformed JSON in request body.") from None


async def read_new_image(call: Call) -> tuple[NewImage, dict[str, str]]:
    """The image announced, and its properties."""
    document = await read_json(call)
    if not isinstance(document, dict):
        raise Invalid("Malformed JSON in request body.")
    raw = msgspec.json.encode(document)
    try:
        asked = _new_image.decode(raw)
    except msgspec.ValidationError as error:
        raise explain(error, raw) from None
    reserved = sorted((document.keys() & RESERVED) - {"id", "os_hidden", "owner"})
    if reserved:
        raise Refused("image.read_only", f"Attribute '{reserved[0]}' is read-only.", status=403)
    _check_owner(call, document)
    check_formats(asked.disk_format, asked.container_format)
    properties = {name: value for name, value in document.items() if name not in RESERVED | SETTABLE}
    return asked, check_properties(properties)


def _check_owner(call: Call, document: dict[str, Any]) -> None:
    if document.get("owner") not in (None, call.context.project_id):
        raise Refused("forbidden", "You are not permitted to create images owned by another project.", status=403)
    if document.get("os_hidden"):
        raise Invalid("Hidden images are not supported by this cloud.")


def check_formats(disk_format: str | None, container_format: str | None) -> None:
    """Raise Invalid for a format that no host here can start from."""
    if disk_format not in (None, *FORMATS):
        raise Invalid(f"Invalid disk format '{disk_format}' for image. Supported are: {', '.join(FORMATS)}.")
    if container_format not in (None, *CONTAINERS):
        raise Invalid(f"Invalid container format '{container_format}' for image. Supported are: bare.")


def check_properties(properties: dict[str, Any]) -> dict[str, str]:
    """The properties, all of them text; raises Invalid or Refused (413)."""
    if len(properties) > MAX_PROPERTIES:
        raise Refused("image.properties", f"The limit of {MAX_PROPERTIES} properties is exceeded.", status=413)
    for name, value in properties.items():
        if not isinstance(value, str):
            raise Invalid(f"{value!r} is not of type 'string': property {name}")
        if not can_be_a_name(name) or not name or len(value) > MAX_PROPERTY:
            raise Invalid(f"Property {name[:64]!r} is too long, or its name has control characters.")
    if image_properties.size(properties) > image_properties.MAX_BYTES:
        raise Refused(
            "image.properties", f"The properties have more than {image_properties.MAX_BYTES} bytes.", status=413
        )
    return properties
