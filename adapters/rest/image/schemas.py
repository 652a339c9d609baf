"""What images and their members look like: clients read it first, and take no attribute that is not in it.

https://docs.openstack.org/api-ref/image/v2/#image-schemas
"""

from typing import Any

from adapters.rest.image.document import CONTAINERS, FORMATS, RESERVED, VISIBILITIES
from adapters.rest.kit.operation import Access, Call, Operations
from domain.neighbours.image import MEMBER_STATUSES

operations = Operations()

ID = r"^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
STATUSES = ("queued", "active", "deactivated", "deleted")
Schema = dict[str, Any]


def _text(description: str, most: int | None = None, *, null: bool = False) -> Schema:
    longest = {} if most is None else {"maxLength": most}
    return {"type": ["null", "string"] if null else "string", "description": description, **longest}


def _number(description: str, *, null: bool = False) -> Schema:
    return {"type": ["null", "integer"] if null else "integer", "description": description}


def _one_of(description: str, *values: str | None) -> Schema:
    kind = ["null", "string"] if None in values else "string"
    return {"type": kind, "enum": list(values), "description": description}


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


IMAGE: dict[str, Schema] = {
    "id": _text("Of the image.") | {"pattern": ID},
    "name": _text("For people.", 255, null=True),
    "status": _one_of("Queued until its data is there.", *STATUSES),
    "visibility": _one_of("Who may use it.", *VISIBILITIES),
    "protected": _flag("Whether it can not be deleted."),
    "os_hidden": _flag("Whether it is left out of lists."),
    "owner": _text("The project whose it is.", 255, null=True),
    "disk_format": _one_of("Of its data.", None, *FORMATS),
    "container_format": _one_of("What is around its data.", None, *CONTAINERS),
    "min_disk": _number("GiB of disk that a server of it needs."),
    "min_ram": _number("MiB of memory that a server of it needs."),
    "size": _number("Bytes of its data.", null=True),
    "virtual_size": _number("Bytes of the disk in its data.", null=True),
    "checksum": _text("MD5 of its data.", 32, null=True),
    "os_hash_algo": _text("How os_hash_value is made.", 64, null=True),
    "os_hash_value": _text("The hash of its data.", 128, null=True),
    "tags": {
        "type": "array",
        "description": "Words by which it is found.",
        "items": {"type": "string", "maxLength": 255},
    },
    "created_at": _text("When it was announced."),
    "updated_at": _text("When it was changed last."),
    "self": _text("Where it is."),
    "file": _text("Where its data is."),
    "schema": _text("Where this is."),
}
"""Each attribute that the document of an image has."""
PLAIN = {"type": "string"}
"""Every other attribute is a property of the image's own."""


def image() -> Schema:
    properties = {name: schema | ({"readOnly": True} if name in RESERVED else {}) for name, schema in IMAGE.items()}
    # An id may be chosen when an image is announced.
    properties["id"] = IMAGE["id"]
    return {
        "name": "image",
        "properties": properties,
        "additionalProperties": PLAIN,
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def images() -> Schema:
    return {
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": image()},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def member() -> Schema:
    properties = {
        "member_id": _text("The project with which the image is shared."),
        "image_id": _text("The image.") | {"pattern": ID},
        "status": _one_of("What it has answered.", *MEMBER_STATUSES),
        "created_at": _text("When it was shared."),
        "updated_at": _text("When it was answered last."),
        "schema": _text("Where this is.") | {"readOnly": True},
    }
    return {"name": "member", "properties": properties}


def members() -> Schema:
    return {
        "name": "members",
        "properties": {"members": {"type": "array", "items": member()}, "schema": {"type": "string"}},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    }


@operations("GET", "/v2/schemas/image", Access.TOKEN, "schemas")
async def show_image(_call: Call) -> Any:
    return image()


@operations("GET", "/v2/schemas/images", Access.TOKEN, "schemas")
async def show_images(_call: Call) -> Any:
    return images()


@operations("GET", "/v2/schemas/member", Access.TOKEN, "schemas")
async def show_member(_call: Call) -> Any:
    return member()


@operations("GET", "/v2/schemas/members", Access.TOKEN, "schemas")
async def show_members(_call: Call) -> Any:
    return members()
