"""Whose server it is, and who may change it."""

from domain.server.details import check_lock
from domain.server.state import Server, existing
from handlers.context import Context


def visible(context: Context, server: Server | None) -> Server | None:
    """The server if the caller may know of it: its own project's, or any for an administrator."""
    if server is None or context.is_admin or server.project_id == context.project_id:
        return server
    return None


def reachable(context: Context, server: Server | None, server_id: str) -> Server:
    """The server. Raises Refused (404) for one that is gone, and for one that the caller may not know of."""
    return existing(visible(context, server), server_id)


def changeable(context: Context, server: Server | None, server_id: str) -> Server:
    """The server, for what a lock forbids. Raises Refused: 404 as ``reachable`` does, 409 for one whose lock keeps
    the caller off."""
    server = reachable(context, server, server_id)
    check_lock(server, is_admin=context.is_admin)
    return server
