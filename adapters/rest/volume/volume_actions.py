"""Actions on volumes: one key in the body of ``POST /volumes/{volume_id}/action``."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Digits, Flag, Key, Text255, boolean, integer
from adapters.rest.volume import microversion as since
from adapters.rest.volume.access import default_limits, find_volume, submit
from adapters.rest.volume.metadata import checked, without
from adapters.rest.volume.new_volume import MAX_GB, MAX_PROPERTY
from adapters.rest.volume.volumes import change, remove
from domain.errors import Refused
from domain.neighbours.volume import volumes

operations = Operations()

PATH = "/volumes/{volume_id}/action"
Property = Annotated[str, Meta(max_length=MAX_PROPERTY)]


class Extension(Body):
    new_size: Annotated[int, Meta(ge=1, le=MAX_GB)] | Digits


class ExtendBody(Body):
    extend: Extension = msgspec.field(name="os-extend")


@operations("POST", PATH, Access.MEMBER, "volume:extend", action="os-extend", body=ExtendBody, status=202)
async def extend(call: Call) -> None:
    size_gb = integer("new_size", call.body.extend.new_size, least=1, most=MAX_GB)
    found, volume = find_volume(call)
    at, request_id, limits = call.services.stamp.clock.now(), call.context.request_id, default_limits(call)
    in_use = call.minor >= since.EXTEND_IN_USE
    await submit(
        call, found.project_id,
        lambda state: volumes.extend(state, limits, volume.id, size_gb, at, request_id, in_use=in_use),
    )  # fmt: skip


class Bootable(Body):
    bootable: Flag


class BootableBody(Body):
    set_bootable: Bootable = msgspec.field(name="os-set_bootable")


@operations("POST", PATH, Access.MEMBER, "volume_extension:volume_actions:set_bootable", action="os-set_bootable",
            body=BootableBody)  # fmt: skip
async def set_bootable(call: Call) -> None:
    bootable = boolean("bootable", call.body.set_bootable.bootable)
    await change(call, lambda _: {"bootable": bootable})


class Readonly(Body):
    readonly: Flag


class ReadonlyBody(Body):
    update: Readonly = msgspec.field(name="os-update_readonly_flag")


@operations("POST", PATH, Access.MEMBER, "volume:update_readonly_flag", action="os-update_readonly_flag",
            body=ReadonlyBody, status=202)  # fmt: skip
async def update_readonly_flag(call: Call) -> None:
    readonly = boolean("readonly", call.body.update.readonly)
    await change(call, lambda _: {"readonly": readonly})


class Reset(Body):
    status: Literal[volumes.STATUSES] | None = None  # type: ignore[valid-type]
    attach_status: Literal["attached", "detached"] | None = None
    migration_status: Text255 | None = None


class ResetBody(Body):
    reset: Reset = msgspec.field(name="os-reset_status")


@operations("POST", PATH, Access.ADMIN, "volume_extension:volume_admin_actions:reset_status",
            action="os-reset_status", body=ResetBody, status=202)  # fmt: skip
async def reset_status(call: Call) -> None:
    """Say how a volume is. Whether it is attached follows from its attachments, and nothing here migrates."""
    asked: Reset = call.body.reset
    found, volume = find_volume(call)
    attached = bool(found.storage.attachments_of(volume.id))
    if asked.attach_status is not None and (asked.attach_status == "attached") is not attached:
        message = "Whether a volume is attached follows from its attachments: create or delete these."
        raise Refused("volume.attach_status", message, status=400)
    if asked.migration_status not in (None, "none"):
        raise Refused("volume.migration_status", "No volume of this cloud is being migrated.", status=400)
    if asked.status is None:
        if asked.attach_status is None and asked.migration_status is None:
            raise Refused("volume.reset", "Must specify 'status', 'attach_status' or 'migration_status'.", status=400)
        return
    at, request_id = call.services.stamp.clock.now(), call.context.request_id
    status = str(asked.status)
    await submit(call, found.project_id, lambda state: volumes.reset(state, volume.id, status, at, request_id))


@operations("POST", PATH, Access.ADMIN, "volume_extension:volume_admin_actions:force_delete",
            action="os-force_delete", status=202)  # fmt: skip
async def force_delete(call: Call) -> None:
    await remove(call, cascade=True, force=True)


class ImageMetadata(Body):
    metadata: dict[Key, Property]


class SetImageMetadataBody(Body):
    set_image_metadata: ImageMetadata = msgspec.field(name="os-set_image_metadata")


@operations("POST", PATH, Access.MEMBER, "volume_extension:volume_image_metadata:set", action="os-set_image_metadata",
            body=SetImageMetadataBody)  # fmt: skip
async def set_image_metadata(call: Call) -> Any:
    added = call.body.set_image_metadata.metadata
    _, after = await change(call, lambda known: {"image_metadata": checked(known.image_metadata | added)})
    return {"metadata": after.image_metadata}


class UnwantedKey(Body):
    key: Key


class UnsetImageMetadataBody(Body):
    unset_image_metadata: UnwantedKey = msgspec.field(name="os-unset_image_metadata")


@operations("POST", PATH, Access.MEMBER, "volume_extension:volume_image_metadata:remove",
            action="os-unset_image_metadata", body=UnsetImageMetadataBody)  # fmt: skip
async def unset_image_metadata(call: Call) -> None:
    unwanted = call.body.unset_image_metadata.key
    await change(call, lambda known: {"image_metadata": without(known.image_metadata, unwanted)})


class ShowImageMetadataBody(Body):
    show_image_metadata: dict[Key, Text255] | None = msgspec.field(name="os-show_image_metadata")


@operations("POST", PATH, Access.READER, "volume_extension:volume_image_metadata:show",
            action="os-show_image_metadata", body=ShowImageMetadataBody)  # fmt: skip
async def show_image_metadata(call: Call) -> Any:
    return {"metadata": find_volume(call)[1].image_metadata}
