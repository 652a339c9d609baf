"""Showing, renaming and deleting servers."""

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from adapters.rest.compute.servers import choices
from adapters.rest.compute.servers.access import find, host_of
from adapters.rest.compute.servers.create_body import HostName
from adapters.rest.compute.servers.view import Document, detailed, plain_addresses
from adapters.rest.kit import since
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Description, Name, Text255, Versions, hostname
from adapters.rest.kit.words import words
from domain.server import details
from domain.server.state import Server
from handlers.accepted import Accepted
from handlers.servers.servers import Decide

operations = Operations()


@operations("GET", "/servers/{server_id}", Access.READER, "os_compute_api:servers:show")
async def show(call: Call) -> Any:
    server = await find(call)
    progress = await call.services.progress(server)
    return {"server": detailed(call, server, host_of(call, server), progress=progress.percent if progress else 0)}


class ServerUpdate(Body):
    """What may be changed in place."""

    name: Name | UnsetType = UNSET
    description: Annotated[Description | UnsetType | None, Versions(19)] = UNSET
    hostname: Annotated[HostName | UnsetType, Versions(90)] = UNSET
    pinned_availability_zone: Annotated[Name | UnsetType | None, Versions(104)] = UNSET
    access_ipv4: Text255 | UnsetType = msgspec.field(default=UNSET, name="accessIPv4")
    access_ipv6: Text255 | UnsetType = msgspec.field(default=UNSET, name="accessIPv6")
    disk_config: Literal["AUTO", "MANUAL"] | UnsetType = msgspec.field(default=UNSET, name="OS-DCF:diskConfig")


class ServerUpdateBody(Body):
    """``{"server": …}``."""

    server: ServerUpdate


@operations("PUT", "/servers/{server_id}", Access.MEMBER, "os_compute_api:servers:update", body=ServerUpdateBody)
async def update(call: Call) -> Any:
    """Change its names, its description and its access addresses. Anything else must be as it is: it cannot be
    changed here yet."""
    server = await find(call)
    changes: ServerUpdate = call.body.server
    present = {
        "pinned_availability_zone": server.requested_zone,
        "disk_config": "MANUAL",
    }
    for name, value in present.items():
        if getattr(changes, name) not in (UNSET, value):
            raise not_implemented(f"Changing the {name} of a server")
    accepted = await _change(call, server.id, changes)
    await call.settle(*accepted)
    server = await find(call)
    return {"server": await after_change(call, server)}


async def _change(call: Call, server_id: str, changes: ServerUpdate) -> list[Accepted]:
    """Everything is checked before anything is changed."""
    new_hostname = changes.hostname if changes.hostname is UNSET else hostname(changes.hostname, call.minor)
    decisions: list[Decide] = []
    if access := choices.access_addresses(changes):
        decisions.append(partial(details.set_access_addresses, given=access))
    if changes.name is not UNSET:
        decisions.append(partial(details.rename, name=changes.name))
    if changes.description is not UNSET:
        decisions.append(partial(details.describe, description=changes.description))
    if new_hostname is not UNSET:
        decisions.append(partial(details.set_hostname, hostname=new_hostname))
    servers = call.services.servers
    return [await servers.change(call.context, server_id, decide, heed_lock=False) for decide in decisions]


async def after_change(call: Call, server: Server) -> Document:
    """The server in the answer to a change: before 2.75 it had no extended attributes."""
    document = detailed(call, server, host_of(call, server))
    if call.minor < since.STRICT:
        document = {name: value for name, value in document.items() if name in _SHORT_ANSWER}
        document["addresses"] = plain_addresses(server.nics)
    return document


_SHORT_ANSWER = words(
    "id name status tenant_id user_id metadata hostId image flavor created updated addresses accessIPv4 accessIPv6 "
    "links OS-DCF:diskConfig progress fault locked description tags trusted_image_certificates server_groups "
    "locked_reason"
)


@operations("DELETE", "/servers/{server_id}", Access.MEMBER, "os_compute_api:servers:delete", status=204)
async def delete(call: Call) -> None:
    accepted = await call.services.servers.delete(call.context, call.params["server_id"])
    await call.settle(accepted)
