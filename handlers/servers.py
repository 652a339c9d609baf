"""What a user may have done with servers: each call becomes one command on one aggregate."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from msgspec import UNSET

from domain import quota
from domain.guest import ImageSource
from domain.record import Event
from domain.server import decide, details, hostname
from domain.server.events import ServerRebuildRequested, ServerRequested
from domain.server.state import Server, aggregate
from handlers import guest_secrets
from handlers.accepted import Accepted
from handlers.admission import Admission
from handlers.cells import Cell, Cells
from handlers.context import Context, Stamp
from handlers.guest_secrets import Secrets
from handlers.registry import Registry
from handlers.repository import NEVER_WAS
from handlers.server_requests import Key, NewServer, Rebuild, check_image

CREATE_DEADLINE = timedelta(minutes=10)
STOP_DEADLINE = timedelta(minutes=3)
START_DEADLINE = timedelta(minutes=3)
REBOOT_DEADLINE = timedelta(minutes=4)
PAUSE_DEADLINE = timedelta(minutes=1)
SUSPEND_DEADLINE = timedelta(minutes=10)
REBUILD_DEADLINE = timedelta(minutes=10)
RESCUE_DEADLINE = timedelta(minutes=10)
UNRESCUE_DEADLINE = timedelta(minutes=4)
DELETE_DEADLINE = timedelta(minutes=2)
"""How long each action may take before it ends as failed (deletion: before it is completed without the host)."""


Decision = Callable[[Server | None, str, datetime], Event | None]
"""Of the server, its id, and until when the action has time."""


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
        reservations back and closes their ids. Raises Busy (503) if the cloud has too much to build.
        """
        assert context.project_id
        assert context.user_id
        if self._admission:
            self._admission.check(context.project_id, new.max_count)
        check_image(new.flavor, new.image, new.min_ram_mb)
        cell = self._cells.for_new()
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
            ),
        )
        reserved = [change.server_id for change in changes if isinstance(change, quota.Reserved)]
        if self._admission:
            self._admission.accepted(context.project_id, len(reserved))
        reservation_id = f"r-{ids[0][:8]}"
        deadline = self._stamp.clock.now() + CREATE_DEADLINE
        numbered = new.max_count > 1
        outcomes = await asyncio.gather(
            *(
                self._request(cell, context, new, server_id, index, reservation_id, deadline, numbered=numbered)
                for index, server_id in enumerate(reserved)
            ),
            return_exceptions=True,
        )
        requested = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
        if not requested:
            raise next(outcome for outcome in outcomes if isinstance(outcome, BaseException))
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
        event = ServerRequested(
            server_id=server_id,
            name=f"{new.name}-{index + 1}" if numbered else new.name,
            project_id=context.project_id or "",
            user_id=context.user_id or "",
            flavor=new.flavor,
            deadline=deadline,
            image=new.image,
            key_name=new.key_name,
            public_key=new.public_key,
            metadata=new.metadata,
            networks=new.networks,
            security_groups=new.security_groups,
            availability_zone=new.availability_zone,
            requested_host=new.host,
            config_drive=new.config_drive,
            description=new.description,
            tags=new.tags,
            hostname=new.hostname or hostname.derived(new.name, server_id, index + 1 if numbered else None),
            secrets=await guest_secrets.seal(cell.vault, server_id, new.secrets),
            reservation_id=reservation_id,
            launch_index=index,
        )
        _, recorded = await cell.servers.execute(
            context, aggregate(server_id), lambda server: decide.request(server, event), known=NEVER_WAS
        )
        return cell.accepted(server_id, recorded)

    async def stop(self, context: Context, server_id: str) -> Accepted:
        """Power off."""
        return await self._command(context, server_id, STOP_DEADLINE, decide.stop)

    async def start(self, context: Context, server_id: str) -> Accepted:
        """Power on."""
        return await self._command(context, server_id, START_DEADLINE, decide.start)

    async def reboot(self, context: Context, server_id: str, *, hard: bool) -> Accepted:
        """Reboot, soft or hard."""
        return await self._command(context, server_id, REBOOT_DEADLINE, partial(decide.reboot, hard=hard))

    async def pause(self, context: Context, server_id: str) -> Accepted:
        """Have it stand still, in memory."""
        return await self._command(context, server_id, PAUSE_DEADLINE, decide.pause)

    async def unpause(self, context: Context, server_id: str) -> Accepted:
        """Have it go on."""
        return await self._command(context, server_id, PAUSE_DEADLINE, decide.unpause)

    async def suspend(self, context: Context, server_id: str) -> Accepted:
        """Put its memory on disk."""
        return await self._command(context, server_id, SUSPEND_DEADLINE, decide.suspend)

    async def resume(self, context: Context, server_id: str) -> Accepted:
        """Have it go on with that memory."""
        return await self._command(context, server_id, SUSPEND_DEADLINE, decide.resume)

    async def rebuild(self, context: Context, server_id: str, wanted: Rebuild) -> tuple[Accepted, Secrets]:
        """Give the server a fresh disk; returns what its guest will be told, too.

        Raises Refused (404, 409), and Invalid for an image that does not fit the flavor.
        """
        cell = await self._cells.of(server_id)
        held, tail = await cell.servers.load(aggregate(server_id))
        deadline = self._stamp.clock.now() + REBUILD_DEADLINE
        sealed: str | None = None

        def decide_on(present: Server | None) -> Event:
            server = decide.existing(_unlocked(context, present), server_id)
            check_image(server.flavor, wanted.image, wanted.min_ram_mb)
            return decide.rebuild(server, server_id, _rebuild_requested(server, wanted, sealed, deadline))

        # Refused before anything is sealed: a key that the log does not know of would never be destroyed.
        decide_on(held)
        assert held
        secrets = wanted.secrets(held, await guest_secrets.unseal(cell.vault, held))
        sealed = await guest_secrets.seal(cell.vault, server_id, secrets)
        _, recorded = await cell.servers.execute(context, aggregate(server_id), decide_on, known=(held, tail))
        return cell.accepted(server_id, recorded), secrets or guest_secrets.NO_SECRETS

    async def rescue(self, context: Context, server_id: str, image: ImageSource | None, admin_pass: str) -> Accepted:
        """Start the server from another image, or from a fresh copy of its own if that is None."""
        sealed: str | None = None

        def decide_on(server: Server | None, server_id: str, until: datetime) -> Event:
            return decide.rescue(server, server_id, until, image, sealed)

        cell = await self._cells.of(server_id)
        held, _ = await cell.servers.load(aggregate(server_id))
        # As with a rebuild. The password is told on a config drive only.
        decide_on(_unlocked(context, held), server_id, self._stamp.clock.now())
        if held and held.config_drive:
            sealed = await guest_secrets.seal(cell.vault, server_id, Secrets(admin_pass=admin_pass))
        return await self._command(context, server_id, RESCUE_DEADLINE, decide_on)

    async def unrescue(self, context: Context, server_id: str) -> Accepted:
        """Start a rescued server from its own disk again."""
        return await self._command(context, server_id, UNRESCUE_DEADLINE, decide.unrescue)

    async def delete(self, context: Context, server_id: str) -> Accepted:
        """Delete."""
        return await self._command(context, server_id, DELETE_DEADLINE, decide.delete)

    async def _command(self, context: Context, server_id: str, allowed: timedelta, decision: Decision) -> Accepted:
        deadline = self._stamp.clock.now() + allowed

        def decide_visible(server: Server | None) -> Event | None:
            return decision(_unlocked(context, server), server_id, deadline)

        cell = await self._cells.of(server_id)
        _, recorded = await cell.servers.execute(context, aggregate(server_id), decide_visible)
        return cell.accepted(server_id, recorded)


def _rebuild_requested(
    server: Server, wanted: Rebuild, sealed: str | None, deadline: datetime
) -> ServerRebuildRequested:
    """What the server shall be, all of it."""

    def chosen(asked: Any, present: Any) -> Any:
        return present if asked is UNSET else asked

    key = chosen(wanted.key, Key(server.key_name, server.public_key))
    return ServerRebuildRequested(
        deadline=deadline,
        image=wanted.image,
        name=chosen(wanted.name, server.name),
        metadata=chosen(wanted.metadata, server.metadata),
        description=chosen(wanted.description, server.description),
        key_name=key.name,
        public_key=key.public_key,
        hostname=chosen(wanted.hostname, server.hostname),
        secrets=sealed,
    )


def _unlocked(context: Context, server: Server | None) -> Server | None:
    """The server if the caller may know of it. Raises Refused (409) if a lock keeps the caller from changing it."""
    server = visible(context, server)
    details.check_lock(server, is_admin=context.is_admin)
    return server


def visible(context: Context, server: Server | None) -> Server | None:
    """The server if the caller may know of it: its own project's, or any for an administrator."""
    if server is None or context.is_admin or server.project_id == context.project_id:
        return server
    return None
