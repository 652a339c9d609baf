"""What the REST faces stand on. The composition root fills this in; tests fill it with what lies in memory."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from adapters.rest.kit.as_of import Past
from adapters.rest.kit.event_stream import Streams
from adapters.rest.kit.limits import LargeBodies
from adapters.rest.kit.policy import Policy
from adapters.rest.kit.settings import RestSettings
from domain.catalogue.quota import Limits
from domain.log.moment import Moment
from domain.log.record import Recorded
from domain.neighbours.volume.changes import VolumeLimits
from domain.placement.ledger import Ledger
from domain.server.state import Server
from handlers.accepted import Accepted
from handlers.consoles.consoles import Consoles
from handlers.consoles.logs import ConsoleLogs
from handlers.context import Stamp
from handlers.fleet.fleet import Fleet
from handlers.fleet.hosts import Hosts
from handlers.fleet.liveness import LifeSigns
from handlers.host.image_tickets import ImageTickets
from handlers.log.registry import Registry
from handlers.messages import Progress
from handlers.metadata import Passwords
from handlers.neighbours import Neighbours
from handlers.neighbours.people import People
from handlers.neighbours.revocations import Revocations
from handlers.past.news import News
from handlers.ports import Queries
from handlers.servers.servers import Servers
from projections.event_log import LogRow


class StockLimits(NamedTuple):
    """How much one project may have of what the embedded neighbours keep; -1: no limit."""

    networks: int = 100
    ports: int = 500
    """Of its own; those of servers are limited as these are."""
    images: int = 100
    image_bytes: int = 1 << 40
    """Of all its images together."""
    one_image_bytes: int = 1 << 40
    """Of a single one."""
    storage: VolumeLimits = VolumeLimits()
    """Of projects that have none of their own."""


class Audit(Protocol):
    """What can be asked of the index of the logs."""

    async def requests(self, identity: str) -> list[str]:
        """The ids of the requests that are meant by the id of a request, of a global request, of a server, or of an
        event; in the order in which they came."""
        ...

    async def log(self, *, request_id: str, limit: int) -> list[LogRow]:
        """The newest events of a request, oldest first."""
        ...

    async def page(
        self, wanted: Mapping[str, str], after: Moment, until: Moment, limit: int, *, whole_only: bool
    ) -> list[LogRow]:
        """The first events behind one moment and up to another, in the order of cells and positions, each once.

        ``wanted`` are columns and what they must be; a type is one that begins so. ``whole_only`` leaves out those
        that hold what several have asked for.
        """
        ...


class AuditServices(NamedTuple):
    """By which the events themselves are asked for."""

    events: Audit
    news: News
    """When ``events`` knows more."""
    event_at: Callable[[str, int], Awaitable[Recorded | None]]
    """The event of a cell at a position; None if there is none. Raises Unavailable."""
    streams: Streams


class ConsoleServices(NamedTuple):
    """By which consoles are reached."""

    grants: Consoles
    logs: ConsoleLogs
    url: str
    """Where browsers reach the console proxies, without a slash at the end."""
    spice_direct_url: str = ""
    """Where viewers that speak SPICE themselves go with their token; empty: nowhere."""


class Bounds(NamedTuple):
    """How much somebody may have, and send."""

    default: Limits
    """Of projects that have none of their own."""
    stock: StockLimits
    large_bodies: LargeBodies


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything a handler of a request may use."""

    settings: RestSettings
    registry: Registry
    """Of the API cell."""
    past: "Past[Services] | None" = None
    """The same services, as of a moment."""
    neighbours: Neighbours
    servers: Servers
    hosts: Hosts
    fleet: Fleet
    queries: Queries
    audit: AuditServices
    liveness: LifeSigns
    ledger: Callable[[], Ledger]
    """The cell's ledger, for reading."""
    progress: Callable[[Server], Awaitable[Progress | None]]
    """How far a server is that leaves its host; None if it does not, or if that cannot be told now."""
    settle: Callable[[Iterable[Accepted]], Awaitable[None]]
    """Wait (within a bound) until all who answer have read what was written: read-your-writes."""
    consoles: ConsoleServices
    policy: Policy
    passwords: Passwords
    revocations: Revocations
    people: People
    """Of the embedded identity."""
    tickets: ImageTickets
    """By which hosts fetch images."""
    limits: Bounds
    stamp: Stamp
