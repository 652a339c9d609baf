"""What the REST faces stand on. The composition root fills this in; tests fill it with what lies in memory."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from adapters.rest.limits import LargeBodies
from adapters.rest.settings import RestSettings
from domain.ledger import Ledger
from domain.quota import Limits
from domain.server.state import Server
from handlers.consoles import Consoles
from handlers.context import Context, Stamp
from handlers.fleet import Fleet
from handlers.image_tickets import ImageTickets
from handlers.metadata import Passwords
from handlers.ports import Clock, Ids
from handlers.registry import Registry
from handlers.revocations import Revocations
from handlers.server_details import ServerDetails
from handlers.servers import Servers
from projections.instance_actions import ActionRow
from projections.server_filter import ServerFilter


class Queries(Protocol):
    """What can be asked of the projections of the cell."""

    async def server(self, server_id: str) -> Server | None:
        """A server, also a deleted one; None if there never was one of that id."""
        ...

    async def servers(self, wanted: ServerFilter) -> list[Server]:
        """One page of servers. Raises Invalid for an unknown marker or a malformed regular expression."""
        ...

    async def actions(self, server_id: str) -> list[ActionRow]:
        """What was asked of a server, newest first."""
        ...

    async def action(self, server_id: str, request_id: str) -> ActionRow | None:
        """What one request did to a server."""
        ...


class ProcessRow(NamedTuple):
    """A process of the control plane, by its signs of life."""

    binary: str
    """In Nova's words: nova-conductor, nova-scheduler."""
    host: str
    last_seen: datetime | None
    up: bool


class Pulse(Protocol):
    """Who lives."""

    def last_seen(self, host: str) -> datetime | None:
        """The last sign of life of a host's agent."""
        ...

    def up(self, host: str) -> bool:
        """Whether it is recent enough."""
        ...

    def processes(self) -> list[ProcessRow]:
        """The processes of the control plane, other than the hosts' agents."""
        ...


class Hosts(Protocol):
    """The commands on hosts; each returns the position of its event in the cell's log, 0 if nothing changed."""

    async def disable(self, context: Context, name: str, reason: str | None) -> int:
        """Let no new server go to a host. Raises Refused (404)."""
        ...

    async def enable(self, context: Context, name: str) -> int:
        """Let servers go there again. Raises Refused (404)."""
        ...


class Projects(Protocol):
    """Whose things there can be; the identity service knows."""

    async def project_exists(self, project_id: str) -> bool:
        """Whether there is a project of exactly this id. Raises Unavailable."""
        ...


class StockLimits(NamedTuple):
    """How much one project may have of what the embedded neighbours keep; -1: no limit."""

    networks: int = 100
    images: int = 100
    image_bytes: int = 1 << 40
    """Of all its images together."""
    one_image_bytes: int = 1 << 40
    """Of a single one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything a handler of a request may use."""

    settings: RestSettings
    registry: Registry
    """Of the API cell."""
    projects: Projects
    servers: Servers
    details: ServerDetails
    hosts: Hosts
    fleet: Fleet
    queries: Queries
    liveness: Pulse
    ledger: Callable[[], Ledger]
    """The cell's ledger, for reading."""
    settle: Callable[[int, str], Awaitable[None]]
    """Wait (within a bound) until what is read passes a position of a cell: read-your-writes."""
    settle_fleet: Callable[[int], Awaitable[None]]
    """The same for a change of a host, which other processes hold in memory."""
    console: Callable[[Server, int | None], Awaitable[str]]
    """The last lines of a server's console; raises Unavailable."""
    consoles: Consoles
    console_url: str
    """Where browsers reach the console proxies, without a slash at the end."""
    spice_direct_url: str = ""
    """Where viewers that speak SPICE themselves go with their token; empty: nowhere."""
    passwords: Passwords
    revocations: Revocations
    tickets: ImageTickets
    """By which hosts fetch images."""
    default_limits: Limits
    stock_limits: StockLimits
    large_bodies: LargeBodies
    stamp: Stamp
    clock: Clock
    ids: Ids
