"""``lightcurve host remove-guest``: a guest that the log does not know, since its events are lost, is given up."""

import uuid

from domain.errors import Invalid, Refused
from domain.server import creation
from domain.server.creation import ServerAbandoned
from domain.server.fold import KIND
from domain.server.state import Server, aggregate
from domain.text import shortened
from handlers.log.repository import Repository
from ops.roles.plane import COMMAND_SECONDS, open_plane
from ops.settings import Settings


async def remove_guest(settings: Settings, server_id: str) -> None:
    """Record that there is no such server, and never will be: its host is told so when it next says that it has the
    guest, and removes it. Raises Invalid for what is no server's id, Refused for a server of which the log tells, and
    Unavailable."""
    try:
        server_id = str(uuid.UUID(server_id))
    except ValueError:
        raise Invalid(f"{shortened(server_id)!r} is no id of a server.") from None

    def decide(server: Server | None) -> ServerAbandoned | None:
        if server and not server.abandoned:
            raise Refused("server.known", f"The log knows server {server_id}: it is {server.vm_state}.")
        return creation.abandon(server, server_id)

    async with open_plane(settings, "remove-guest", COMMAND_SECONDS) as plane:
        servers: Repository[Server] = Repository(KIND, plane.store, plane.stamp)
        await servers.execute(plane.stamp.own_context(), aggregate(server_id), decide)
