"""What a user may have done with servers: each call becomes one command on one aggregate."""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from domain.catalogue import quota
from domain.catalogue.flavor import Flavor, check_image
from domain.errors import Refused
from domain.log.record import Event
from domain.server import creation, deletion, hostname
from domain.server.action import Action
from domain.server.actions import rebuild, rescue
from domain.server.actions.rebuild import ServerRebuildRequested
from domain.server.creation import ServerRequested
from domain.server.moves import cold, evacuation, live, steering
from domain.server.moves.orders import ABORT, Policy
from domain.server.moves.steering import Which
from domain.server.state import Server, aggregate
from domain.server.wish import wish_of
from handlers.accepted import Accepted
from handlers.cells import Cell, Cells
from handlers.context import Context, Stamp
from handlers.log.registry import Registry
from handlers.log.repository import NEVER_WAS
from handlers.neighbours import BootImage
from handlers.servers import guest_secrets
from handlers.servers.access import changeable, reachable
from handlers.servers.admission import Admission
from handlers.servers.guest_secrets import Secrets
from handlers.servers.requests import Evacuation, NewServer, Rebuild
from handlers.together import outcomes

Decide = Callable[[Server], Event | None]
"""What becomes of a server that is there; None is nothing left to do. Raises Refused."""
Request = Callable[[Server, datetime], Event | None]
"""What begins an action on a server that is there, which then has time until then."""


class Servers:
    """The commands on servers."""

    def __init__(
        self,
        cells: Cells,
        registry: Registry,
        stamp: Stamp,
        default_limits: quota.Limits,
        admission: Admission | None = None,
    ) -> None:
        """Without ``admission`` every request is let in."""
        self._cells = cells
        self._registry = registry
        self._stamp = stamp
        self._default_limits = default_limits
        self._admission = admission

    async def create(self, context: Context, new: NewServer) -> list[Accepted]:
        """Request between min_count and max_count servers. Quota is reserved first, so a limit is exact.

        If this process dies in between, or the log takes only some of the requests, the conductor gives the other
        reservations back and closes their ids. Raises Busy (503) if the cloud has too much to build, and Unavailable
        if the cell is known to take nothing in: then nothing is reserved, which would count until it is given back.
        """
        assert context.project_id
        assert context.user_id
        if self._admission:
            self._admission.check(context.project_id, new.max_count)
        check_image(new.flavor, new.image, new.min_ram_mb)
        cell = await self._cells.for_new()
        ids = [self._stamp.ids.uuid() for _ in range(new.max_count)]
        writer = self._registry.writer(quota.aggregate(context.project_id))
        changes, _ = await writer.submit(
            context,
            lambda state: quota.reserve(
                state,
                self._default_limits,
                ids,
                cell=cell.name,
                at_least=new.min_count,
                cores=new.flavor.vcpus,
                ram_mb=new.flavor.ram_mb,
                request_id=context.request_id,
                group_id=new.group.group_id if new.group else None,
            ),
        )
        reserved = [change.server_id for change in changes if isinstance(change, quota.Reserved)]
        if self._admission:
            self._admission.accepted(context.project_id, len(reserved))
        reservation_id = f"r-{ids[0][:8]}"
        deadline = self._stamp.clock.now() + creation.TIME
        numbered = new.max_count > 1
        tried = await outcomes(
            *(
                self._request(cell, context, new, server_id, index, reservation_id, deadline, numbered=numbered)
                for index, server_id in enumerate(reserved)
            )
        )
        requested = [outcome for outcome in tried if isinstance(outcome, Accepted)]
        if not requested:
            raise next(outcome for outcome in tried if isinstance(outcome, BaseException))
        return requested

    async def _request(
        self,
        cell: Cell,
        context: Context,
        new: NewServer,
        server_id: str,
        index: int,
        reservation_id: str,
        deadline: datetime,
        *,
        numbered: bool,
    ) -> Accepted:
        wish = wish_of(new)
        wish["hostname"] = new.hostname or hostname.derived(new.name, server_id, index + 1 if numbered else None)
        if numbered:
            wish["name"] = f"{new.name}-{index + 1}"
        # Texts are sealed for a server that has a key, and this is the key of which its events tell.
        secrets = new.secrets or (guest_secrets.NO_SECRETS if cell.seals_texts else None)
        event = ServerRequested(
            **wish,
            server_id=server_id,
            project_id=context.project_id or "",
            user_id=context.user_id or "",
            deadline=deadline,
            availability_zone=new.availability_zone,
            requested_host=new.host,
            secrets=await guest_secrets.seal(cell.vault, server_id, secrets),
            reservation_id=reservation_id,
            launch_index=index,
        )
        _, recorded = await cell.servers.execute(
            context, aggregate(server_id), lambda server: creation.request(server, event), known=NEVER_WAS
        )
        return cell.accepted(server_id, recorded)

    async def act(self, context: Context, server_id: str, action: Action, request: Request | None = None) -> Accepted:
        """Begin an action; ``request`` is for one that needs more than time. Raises Refused (404, 409)."""
        deadline = self._stamp.clock.now() + action.time
        return await self.change(context, server_id, lambda server: (request or action.request)(server, deadline))

    async def ready_for(self, context: Context, server_id: str, action: Action) -> Server:
        """The server as it is, if the action may be asked of it now. Raises Refused (404, 409)."""
        cell = await self._cells.of(server_id)
        held, _ = await cell.servers.load(aggregate(server_id))
        server = changeable(context, held, server_id)
        action.check(server)
        return server

    async def resize(
        self, context: Context, server_id: str, flavor: Flavor, confirm_after: float | None = None
    ) -> Accepted:
        """Have the server be of another flavor. Raises Refused (400, 403 beyond the quota, 404, 409), and Invalid for
        an image that does not fit the flavor."""

        def request(server: Server, deadline: datetime) -> Event:
            check_image(flavor, server.image, 0)
            return cold.resize(server, deadline, flavor, confirm_after)

        # Refused before anything is reserved, where that is certain.
        cell = await self._cells.of(server_id)
        held, _ = await cell.servers.load(aggregate(server_id))
        server = changeable(context, held, server_id)
        request(server, self._stamp.clock.now())
        await self._reserve(context, server, flavor)
        # Should somebody have been quicker, or this process end here, the conductor sets it right.
        return await self.act(context, server_id, cold.RESIZE_ACTION, request)

    async def live_migrate(
        self, context: Context, server_id: str, host: str | None, seconds: float, policy: Policy = ABORT
    ) -> Accepted:
        """Have the server on another host, running meanwhile; it has so much time, if its policy heeds that. Raises
        Refused (400, 404, 409)."""
        deadline = steering.until(policy, self._stamp.clock.now(), seconds)
        return await self.change(context, server_id, lambda server: live.migrate(server, deadline, host, policy))

    async def steer(
        self, context: Context, server_id: str, which: Which, policy: Policy | None, seconds: float | None
    ) -> Accepted:
        """Give a live migration other time, from now on, or another end. Raises Refused (400, 404, 409)."""
        deadline = self._stamp.clock.now() + timedelta(seconds=seconds) if seconds else None
        return await self.change(
            context, server_id, lambda server: steering.change_policy(server, which, policy, deadline)
        )

    async def migrate(
        self, context: Context, server_id: str, host: str | None, confirm_after: float | None = None
    ) -> Accepted:
        """Have the server on another host, powered off meanwhile. Raises Refused (400, 404, 409)."""
        return await self.act(
            context,
            server_id,
            cold.MIGRATE,
            lambda server, deadline: cold.migrate(server, deadline, host, confirm_after),
        )

    async def evacuate(
        self, context: Context, server_id: str, wanted: Evacuation, is_dead: Callable[[str], bool]
    ) -> Accepted:
        """Have a server whose host is dead made anew on another. Raises Refused (400 while its host lives, 404,
        409)."""
        sealed: str | None = None

        def request(server: Server, deadline: datetime) -> Event:
            event = evacuation.evacuate(server, deadline, wanted.host, stopped=wanted.stopped, secrets=sealed)
            if not is_dead(event.move.source.host):
                raise Refused(
                    "server.host_in_use", f"Compute service of {event.move.source.host} is still in use.", status=400
                )
            return event

        cell = await self._cells.of(server_id)
        held, _ = await cell.servers.load(aggregate(server_id))
        # As with a rebuild.
        server = changeable(context, held, server_id)
        request(server, self._stamp.clock.now())
        if server.config_drive and wanted.admin_pass is not None:
            secrets = await guest_secrets.unseal(cell.vault, server)
            secrets = msgspec.structs.replace(secrets, admin_pass=wanted.admin_pass)
            sealed = await guest_secrets.seal(cell.vault, server_id, secrets)
        return await self.act(context, server_id, evacuation.EVACUATE, request)

    async def _reserve(self, context: Context, server: Server, flavor: Flavor) -> None:
        await self._registry.writer(quota.aggregate(server.project_id)).submit(
            context,
            lambda state: quota.widen(
                state,
                self._default_limits,
                server.id,
                cores=flavor.vcpus,
                ram_mb=flavor.ram_mb,
                request_id=context.request_id,
            ),
        )

    async def rebuild(self, context: Context, server_id: str, wanted: Rebuild) -> tuple[Accepted, Secrets]:
        """Give the server a fresh disk; returns what its guest will be told, too.

        Raises Refused (404, 409), and Invalid for an image that does not fit the flavor.
        """
        cell = await self._cells.of(server_id)
        held, tail = await cell.servers.load(aggregate(server_id))
        deadline = self._stamp.clock.now() + rebuild.REBUILD.time
        sealed: str | None = None

        def decide(present: Server | None) -> Event:
            server = changeable(context, present, server_id)
            check_image(server.flavor, wanted.image, wanted.min_ram_mb)
            return rebuild.request(server, _rebuild_requested(server, wanted, sealed, deadline))

        # Refused before anything is sealed: a key that the log does not know of would never be destroyed.
        decide(held)
        assert held
        secrets = wanted.secrets(held, await guest_secrets.unseal(cell.vault, held))
        sealed = await guest_secrets.seal(cell.vault, server_id, secrets)
        _, recorded = await cell.servers.execute(context, aggregate(server_id), decide, known=(held, tail))
        return cell.accepted(server_id, recorded), secrets or guest_secrets.NO_SECRETS

    async def rescue(self, context: Context, server_id: str, image: BootImage | None, admin_pass: str) -> Accepted:
        """Start the server from another image, or from a fresh copy of its own if that is None.

        Raises Refused (404, 409), and Invalid for an image that does not fit the flavor.
        """
        sealed: str | None = None

        def request(server: Server, deadline: datetime) -> Event:
            if image:
                check_image(server.flavor, image.source, image.min_ram_mb)
            return rescue.request(server, deadline, image.source if image else None, sealed)

        cell = await self._cells.of(server_id)
        held, _ = await cell.servers.load(aggregate(server_id))
        # As with a rebuild. The password is told on a config drive only.
        server = changeable(context, held, server_id)
        request(server, self._stamp.clock.now())
        if server.config_drive:
            sealed = await guest_secrets.seal(cell.vault, server_id, Secrets(admin_pass=admin_pass))
        return await self.act(context, server_id, rescue.RESCUE, request)

    async def delete(self, context: Context, server_id: str) -> Accepted:
        deadline = self._stamp.clock.now() + deletion.TIME
        return await self.change(context, server_id, lambda server: deletion.request(server, deadline))

    async def change(self, context: Context, server_id: str, decide: Decide, *, heed_lock: bool = True) -> Accepted:
        """Record what is decided on a server: unless its lock forbids it, or also then. Raises Refused (404, 409,
        and what ``decide`` refuses)."""
        find = changeable if heed_lock else reachable
        cell = await self._cells.of(server_id)
        _, recorded = await cell.servers.execute(
            context, aggregate(server_id), lambda server: decide(find(context, server, server_id))
        )
        return cell.accepted(server_id, recorded)


def _rebuild_requested(
    server: Server, wanted: Rebuild, sealed: str | None, deadline: datetime
) -> ServerRebuildRequested:
    """What the server shall be, all of it."""
    wish = {name: getattr(server, name) for name in rebuild.RENEWED} | wanted.changes | {"image": wanted.image}
    return ServerRebuildRequested(**wish, deadline=deadline, secrets=sealed)
