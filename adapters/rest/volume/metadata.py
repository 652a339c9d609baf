"""The metadata of volumes and of snapshots: the same five operations on each."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.validation import Body, StringMap
from adapters.rest.volume import microversion as since
from adapters.rest.volume.access import find_snapshot, find_volume
from adapters.rest.volume.snapshots import change as change_snapshot
from adapters.rest.volume.volumes import change as change_volume
from domain.errors import Invalid, Refused

operations = Operations()

MAX_ITEMS = 128


class MetadataBody(Body):
    """``{"metadata": …}``."""

    metadata: StringMap


class ItemBody(Body):
    """``{"meta": …}``."""

    meta: StringMap


Change = Callable[[dict[str, str]], dict[str, str]]


def _declare(
    path: str,
    rule: str,
    read: Callable[[Call], dict[str, str]],
    write: Callable[[Call, Change], Awaitable[dict[str, str]]],
) -> None:
    """The operations on the metadata of one noun."""

    @operations("GET", path, Access.READER, f"{rule}:get_metadata")
    async def show(call: Call) -> Any:
        return _answered(call, read(call))

    @operations("POST", path, Access.MEMBER, f"{rule}:create_metadata", body=MetadataBody)
    async def add(call: Call) -> Any:
        added = call.body.metadata
        await write(call, lambda known: checked(known | added))
        return {"metadata": added}

    @operations("PUT", path, Access.MEMBER, f"{rule}:update_metadata", body=MetadataBody)
    async def replace(call: Call) -> Any:
        wanted = checked(call.body.metadata)
        return {"metadata": await write(call, lambda _: wanted)}

    @operations("GET", path + "/{key}", Access.READER, f"{rule}:get_metadata")
    async def show_item(call: Call) -> Any:
        key, known = call.params["key"], read(call)
        without(known, key)
        return {"meta": {key: known[key]}}

    @operations("PUT", path + "/{key}", Access.MEMBER, f"{rule}:update_metadata", body=ItemBody)
    async def set_item(call: Call) -> Any:
        meta = call.body.meta
        if list(meta) != [call.params["key"]]:
            raise Invalid("Request body and URI mismatch")
        await write(call, lambda known: checked(known | meta))
        return {"meta": meta}

    @operations("DELETE", path + "/{key}", Access.MEMBER, f"{rule}:delete_metadata")
    async def delete_item(call: Call) -> None:
        await write(call, lambda known: without(known, call.params["key"]))


def without(known: dict[str, str], key: str) -> dict[str, str]:
    """All but one; raises Refused (404) if that is not there."""
    if key not in known:
        raise Refused("metadata.not_found", f"Metadata has no key {key}.", status=404)
    return {name: value for name, value in known.items() if name != key}


def checked(metadata: dict[str, str]) -> dict[str, str]:
    """Raises Refused (413) for too many."""
    if len(metadata) > MAX_ITEMS:
        raise Refused("metadata.too_many", f"The limit of {MAX_ITEMS} metadata items is exceeded.", status=413)
    return metadata


def _answered(call: Call, known: dict[str, str]) -> Reply:
    tag = hashlib.md5(msgspec.json.encode(known), usedforsecurity=False).hexdigest()
    return Reply({"metadata": known}, headers={"Etag": tag} if call.minor >= since.ETAGS else {})


async def _write_volume(call: Call, change: Change) -> dict[str, str]:
    return (await change_volume(call, lambda known: {"metadata": change(known.metadata)}))[1].metadata


async def _write_snapshot(call: Call, change: Change) -> dict[str, str]:
    return (await change_snapshot(call, lambda known: {"metadata": change(known.metadata)})).metadata


_declare("/volumes/{volume_id}/metadata", "volume", lambda call: find_volume(call)[1].metadata, _write_volume)
_declare(
    "/snapshots/{snapshot_id}/metadata", "volume_extension:snapshot_metadata",
    lambda call: find_snapshot(call)[1].metadata, _write_snapshot,
)  # fmt: skip
