"""Finding the server that a request names, and changing it."""

from adapters.rest.kit import since
from adapters.rest.kit.operation import Call
from domain.errors import not_found
from domain.fleet.host import Host
from domain.server.state import DELETED, Server
from handlers.accepted import Accepted
from handlers.servers.access import visible
from handlers.servers.servers import Decide


async def find(call: Call, *, deleted: bool = False) -> Server:
    """The server in the path, if the caller may know of it; raises Refused (404)."""
    server_id = call.params["server_id"]
    server = visible(call.context, await call.services.queries.server(server_id))
    if server is None or (server.vm_state == DELETED and not deleted):
        raise not_found("Instance", server_id)
    return server


async def change(call: Call, decide: Decide, *, heed_lock: bool = True) -> Accepted:
    """Have decided what becomes of the server in the path, and wait until everybody can see it."""
    accepted = await call.services.servers.change(call.context, call.params["server_id"], decide, heed_lock=heed_lock)
    await call.settle(accepted)
    return accepted


def host_of(call: Call, server: Server) -> Host | None:
    """The server's host, if the caller may know of hosts."""
    if not (call.is_admin and server.host and call.minor >= since.HOST_STATUS):
        return None
    return call.services.fleet.named(server.host)
