"""What a user may change of a server without touching its guest: each call becomes one command on one aggregate."""

from collections.abc import Callable

from domain.log.record import Event
from domain.server import details
from domain.server.state import Server, aggregate
from handlers.accepted import Accepted
from handlers.cells import Cells
from handlers.context import Context
from handlers.servers.access import changeable, visible

Decision = Callable[[Server | None], Event | None]


class ServerDetails:
    """The names, metadata, tags and locks of servers. Raises what ``domain.server.details`` does."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    async def rename(self, context: Context, server_id: str, name: str) -> Accepted:
        return await self._change(context, server_id, lambda server: details.rename(server, server_id, name))

    async def describe(self, context: Context, server_id: str, description: str | None) -> Accepted:
        return await self._change(context, server_id, lambda server: details.describe(server, server_id, description))

    async def set_hostname(self, context: Context, server_id: str, hostname: str) -> Accepted:
        return await self._change(
            context, server_id, lambda server: details.set_hostname(server, server_id, hostname)
        )

    async def set_metadata(
        self, context: Context, server_id: str, given: dict[str, str], *, replace: bool
    ) -> Accepted:
        """Add items to the metadata, or replace all."""
        return await self._change(
            context,
            server_id,
            lambda server: details.set_metadata(server, server_id, given, replace=replace),
            guarded=True,
        )

    async def remove_metadata(self, context: Context, server_id: str, key: str) -> Accepted:
        return await self._change(
            context, server_id, lambda server: details.remove_metadata(server, server_id, key), guarded=True
        )

    async def set_tags(self, context: Context, server_id: str, tags: tuple[str, ...]) -> Accepted:
        return await self._change(context, server_id, lambda server: details.set_tags(server, server_id, tags))

    async def add_tag(self, context: Context, server_id: str, tag: str) -> Accepted:
        """Have this tag, too; the position is 0 if it was there."""
        return await self._change(context, server_id, lambda server: details.add_tag(server, server_id, tag))

    async def remove_tag(self, context: Context, server_id: str, tag: str) -> Accepted:
        return await self._change(context, server_id, lambda server: details.remove_tag(server, server_id, tag))

    async def lock(self, context: Context, server_id: str, reason: str | None) -> Accepted:
        project_id = context.project_id
        return await self._change(
            context,
            server_id,
            lambda server: details.lock(server, server_id, project_id=project_id, reason=reason),
        )

    async def unlock(self, context: Context, server_id: str, *, overrides: bool) -> Accepted:
        """``overrides``: also a lock that was set from elsewhere."""
        project_id = context.project_id
        return await self._change(
            context,
            server_id,
            lambda server: details.unlock(server, server_id, project_id=project_id, overrides=overrides),
        )

    async def _change(
        self, context: Context, server_id: str, decision: Decision, *, guarded: bool = False
    ) -> Accepted:
        """``guarded``: a lock forbids it."""

        def decide(server: Server | None) -> Event | None:
            return decision(changeable(context, server, server_id) if guarded else visible(context, server))

        cell = await self._cells.of(server_id)
        _, recorded = await cell.servers.execute(context, aggregate(server_id), decide)
        return cell.accepted(server_id, recorded)
