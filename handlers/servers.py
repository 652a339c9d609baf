"""What a user may ask about servers: each call becomes one command on one aggregate."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from domain import quota
from domain.errors import Invalid
from domain.flavor import Flavor
from domain.guest import ImageSource
from domain.record import Event
from domain.server import decide
from domain.server.events import NetworkRequest, ServerRequested
from domain.server.state import KIND, Server, aggregate
from handlers.context import Context, Stamp
from handlers.ports import EventStore, Vault
from handlers.registry import Registry
from handlers.repository import NEVER_WAS, Repository

CREATE_DEADLINE = timedelta(minutes=10)
STOP_DEADLINE = timedelta(minutes=3)
START_DEADLINE = timedelta(minutes=3)
REBOOT_DEADLINE = timedelta(minutes=4)
DELETE_DEADLINE = timedelta(minutes=2)
"""How long each action may take before it ends as failed (deletion: before it is completed without the host)."""


class NewServer(msgspec.Struct, frozen=True, kw_only=True):
    """A request for servers, checked and resolved by the face that took it."""

    name: str
    flavor: Flavor
    image: ImageSource | None
    min_ram_mb: int = 0
    """The image's demand on the flavor."""
    networks: tuple[NetworkRequest, ...] = ()
    key_name: str | None = None
    public_key: str | None = None
    metadata: dict[str, str] = {}
    security_groups: tuple[str, ...] = ()
    availability_zone: str | None = None
    host: str | None = None
    config_drive: bool = False
    description: str | None = None
    tags: tuple[str, ...] = ()
    hostname: str | None = None
    secrets: bytes | None = None
    """User data and the like, as JSON: sealed before it reaches the log."""
    min_count: int = 1
    max_count: int = 1


class Accepted(msgspec.Struct, frozen=True):
    """What a command has come to: where the log stands, for reading one's own write."""

    server_id: str
    position: int


class Servers:
    """The commands on the servers of one cell."""

    def __init__(
        self, store: EventStore, registry: Registry, vault: Vault, stamp: Stamp, default_limits: quota.Limits
    ) -> None:
        self._repository: Repository[Server] = Repository(KIND, store, stamp)
        self._cell = store.cell
        self._registry = registry
        self._vault = vault
        self._stamp = stamp
        self._default_limits = default_limits

    async def create(self, context: Context, new: NewServer) -> list[Accepted]:
        """Request between min_count and max_count servers. Quota is reserved first, so a limit is exact.

        If this process dies in between, the conductor gives the reservation back and closes the id.
        """
        assert context.project_id
        assert context.user_id
        check_image(new.flavor, new.image, new.min_ram_mb)
        ids = [self._stamp.ids.uuid() for _ in range(new.max_count)]
        writer = self._registry.writer(quota.aggregate(context.project_id))
        changes, _ = await writer.submit(
            context,
            lambda state: quota.reserve(
                state,
                self._default_limits,
                ids,
                cell=self._cell,
                at_least=new.min_count,
                cores=new.flavor.vcpus,
                ram_mb=new.flavor.ram_mb,
                request_id=context.request_id,
            ),
        )
        reserved = [change.server_id for change in changes if isinstance(change, quota.Reserved)]
        reservation_id = f"r-{ids[0][:8]}"
        deadline = self._stamp.clock.now() + CREATE_DEADLINE
        numbered = new.max_count > 1
        return await asyncio.gather(
            *(
                self._request(context, new, server_id, index, reservation_id, deadline, numbered=numbered)
                for index, server_id in enumerate(reserved)
            )
        )

    async def _request(
        self,
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
            hostname=new.hostname,
            secrets=await self._vault.seal(server_id, new.secrets) if new.secrets else None,
            reservation_id=reservation_id,
            launch_index=index,
        )
        _, recorded = await self._repository.execute(
            context, aggregate(server_id), lambda server: decide.request(server, event), known=NEVER_WAS
        )
        assert recorded
        return Accepted(server_id, recorded.position)

    async def stop(self, context: Context, server_id: str) -> Accepted:
        """Power off."""
        return await self._command(
            context, server_id, STOP_DEADLINE, lambda server, until: decide.stop(server, server_id, until)
        )

    async def start(self, context: Context, server_id: str) -> Accepted:
        """Power on."""
        return await self._command(
            context, server_id, START_DEADLINE, lambda server, until: decide.start(server, server_id, until)
        )

    async def reboot(self, context: Context, server_id: str, *, hard: bool) -> Accepted:
        """Reboot, soft or hard."""
        return await self._command(
            context,
            server_id,
            REBOOT_DEADLINE,
            lambda server, until: decide.reboot(server, server_id, until, hard=hard),
        )

    async def rename(self, context: Context, server_id: str, name: str) -> Accepted:
        """Change the display name."""
        return await self._command(
            context, server_id, timedelta(), lambda server, _: decide.rename(server, server_id, name)
        )

    async def delete(self, context: Context, server_id: str) -> Accepted:
        """Delete."""
        return await self._command(
            context, server_id, DELETE_DEADLINE, lambda server, until: decide.delete(server, server_id, until)
        )

    async def _command(
        self,
        context: Context,
        server_id: str,
        allowed: timedelta,
        decision: Callable[[Server | None, datetime], Event | None],
    ) -> Accepted:
        deadline = self._stamp.clock.now() + allowed

        def decide_visible(server: Server | None) -> Event | None:
            return decision(visible(context, server), deadline)

        _, recorded = await self._repository.execute(context, aggregate(server_id), decide_visible)
        return Accepted(server_id, recorded.position if recorded else 0)


def visible(context: Context, server: Server | None) -> Server | None:
    """The server if the caller may know of it: its own project's, or any for an administrator."""
    if server is None or context.is_admin or server.project_id == context.project_id:
        return server
    return None


def check_image(flavor: Flavor, image: ImageSource | None, min_ram_mb: int) -> None:
    """Refuse an image that the flavor is too small for, in Nova's words."""
    if min_ram_mb > flavor.ram_mb:
        raise Invalid("Flavor's memory is too small for requested image.")
    if image and flavor.disk_gb and image.min_disk_gb > flavor.disk_gb:
        raise Invalid(
            f"Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is "
            f"{flavor.disk_gb << 30} bytes, minimum size is {image.min_disk_gb << 30} bytes."
        )
