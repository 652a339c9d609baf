"""Rebuilding a server: a fresh disk, on the same host and with the same addresses."""

from typing import Any

from msgspec import UNSET

from adapters.rest.compute.servers import choices
from adapters.rest.compute.servers.access import find
from adapters.rest.compute.servers.actions.simple import PATH
from adapters.rest.compute.servers.rebuild_body import RebuildArguments, RebuildBody
from adapters.rest.compute.servers.shown import after_change
from adapters.rest.kit import since
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.validation import boolean, hostname
from domain.server.actions.rebuild import RENEWED
from domain.server.state import Server
from handlers.servers.requests import Rebuild

operations = Operations()

AS_ASKED = tuple(name for name in RENEWED if name not in {"image", "public_key", "hostname", *choices.ACCESS})
"""What the body says as it shall be."""


@operations("POST", PATH, Access.MEMBER, "os_compute_api:servers:rebuild", action="rebuild", body=RebuildBody,
            status=202)  # fmt: skip
async def rebuild(call: Call) -> Reply:
    """Accept a rebuild; the answer shows the server as it will be."""
    asked: RebuildArguments = call.body.rebuild
    before = await find(call)
    choices.refuse_unsupported(asked)
    if asked.preserve_ephemeral is not UNSET and boolean("preserve_ephemeral", asked.preserve_ephemeral):
        raise not_implemented("Preserving ephemeral disks")
    wanted = await _resolved(call, asked, before)
    accepted, secrets = await call.services.servers.rebuild(call.context, call.params["server_id"], wanted)
    await call.settle(accepted)
    server = await find(call)
    document = await after_change(call, server)
    if call.minor >= since.KEY_OF_REBUILD:
        document["key_name"] = server.key_name
    if call.minor >= since.NO_PERSONALITY:
        document["user_data"] = secrets.user_data
    document["adminPass"] = wanted.admin_pass
    location = next(link["href"] for link in document["links"] if link["rel"] == "self")
    return Reply({"server": document}, headers={"Location": location})


async def _resolved(call: Call, asked: RebuildArguments, server: Server) -> Rebuild:
    image, min_ram_mb = await choices.image(call, asked.imageRef, server.host)
    changes: dict[str, Any] = choices.as_asked(asked, AS_ASKED) | choices.access_addresses(asked)
    if asked.key_name is not UNSET:
        changes["public_key"] = choices.public_key(call, asked.key_name, server.user_id)
    if asked.hostname is not UNSET:
        changes["hostname"] = hostname(asked.hostname, call.minor)
    user_data = asked.user_data
    if isinstance(user_data, str):
        choices.check_base64("user_data", user_data)
    return Rebuild(
        image=image,
        min_ram_mb=min_ram_mb,
        admin_pass=choices.password(asked.adminPass),
        changes=changes,
        user_data=user_data,
        personality=choices.files(asked.personality),
    )
