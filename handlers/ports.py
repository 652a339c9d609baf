"""The ports: what the handlers need of the outside, and what they promise to find there.

Every port has one contract test class under ``tests/contract``, run over each implementation.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from domain.guest import GuestSpec, GuestState, HostDescription
from domain.log.record import GENESIS, AggregateId, Event, Metadata, Recorded, Tail
from domain.server.instance_action import InstanceAction
from domain.server.listing import ServerFilter
from domain.server.moves.migration import Migration, MigrationFilter
from domain.server.moves.orders import Orders
from domain.server.state import Server
from handlers.messages import Arrival, ConsoleAddress, DiskOffer, Peer, Progress


class Snapshot(NamedTuple):
    """A fold of an aggregate up to ``tail``, encoded by whoever saved it."""

    tail: Tail
    body: bytes


class EventStore(Protocol):
    """The log of one cell."""

    @property
    def cell(self) -> str:
        """The name of the cell whose stream this is."""
        ...

    async def require_writable(self) -> None:
        """Raise Unavailable, with the reason, if it is certain that no event is taken now, whatever it is."""
        ...

    async def append(self, aggregate: AggregateId, event: Event, meta: Metadata, tail: Tail) -> Recorded:
        """Append one event, if the aggregate still ends at ``tail``.

        Returns the event as recorded, also when the answer to a first attempt was lost but the event
        was stored. Raises Stale if somebody else appended, Unavailable if it is certain, or cannot be
        found out in time, that the log does not answer.
        """
        ...

    async def load(self, aggregate: AggregateId, after: Tail = GENESIS) -> list[Recorded]:
        """All events of an aggregate after ``after``, oldest first; Unreadable stands for one that this program
        cannot read. Raises Unavailable, and OutOfOrder if they do not continue ``after`` or one another."""
        ...

    async def load_first(self, aggregate: AggregateId, limit: int) -> tuple[list[Recorded], bool]:
        """The first events of an aggregate, at most ``limit``, as ``load`` gives them; and whether it has more."""
        ...

    async def event_at(self, position: int) -> Recorded | None:
        """The event at a position, Unreadable as above; None if there is none. Raises Unavailable."""
        ...

    def follow(self, after: int, *kinds: str) -> AsyncIterator[list[Recorded]]:
        """Every event after position ``after``, in order, for ever, in batches as they come.

        ``kinds`` narrows it to those kinds of aggregate. An empty batch says that the end of the stream
        was reached; it comes once, after the backlog (at once if there is none). Unreadable stands for an event
        that this program cannot read: the others come all the same.
        """
        ...

    async def last_position(self) -> int:
        """The position of the newest event; 0 for an empty log. Raises Unavailable."""
        ...

    async def save_snapshot(self, aggregate: AggregateId, snapshot: Snapshot) -> None:
        """Keep a snapshot, replacing the one before; an older tail never replaces a newer. Raises Unavailable."""
        ...

    async def load_snapshot(self, aggregate: AggregateId) -> Snapshot | None:
        """The newest snapshot kept. One that is damaged, or not of this log's events, is dropped. Raises
        Unavailable."""
        ...


class Delivery(Protocol):
    """A host command in the hands of an agent."""

    @property
    def body(self) -> bytes:
        """The command, encoded."""
        ...

    @property
    def attempt(self) -> int:
        """1 for the first delivery, more when it came before."""
        ...

    async def done(self) -> None:
        """The work is done and reported: never deliver it again."""
        ...

    async def working(self) -> None:
        """Still at it: do not deliver it to another, start the deadline anew."""
        ...

    async def retry(self, delay: float) -> None:
        """Deliver it again after ``delay`` seconds."""
        ...


class CommandBus(Protocol):
    """The queues of commands to the hosts of one cell, and the reports that come back."""

    async def send(self, host: str, command_id: str, body: bytes) -> None:
        """Put a command in a host's queue; durable when this returns. The same ``command_id`` sent again
        within two minutes is stored once. Raises Unavailable."""
        ...

    def receive(self, hosts: list[str]) -> AsyncIterator[Delivery]:
        """The commands for these hosts, for ever; what is not ``done`` after a while comes again."""
        ...

    async def report(self, host: str, body: bytes) -> bytes:
        """Tell the cell's conductor what a host has done or seen, and return its answer once it is in the log.
        Raises Unavailable if no conductor answers in time."""
        ...

    async def serve_reports(self, handle: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        """Answer reports with ``handle(host, body)`` until cancelled; several servers share the work.
        A handler that raises leaves the report unanswered, so that the host tries again."""
        ...

    async def ask(self, host: str, question: bytes, timeout: float = 10.0) -> bytes:
        """Ask a host something that changes nothing (its console log). Raises Unavailable, and HostFailed with the
        host's own words."""
        ...

    async def serve_questions(self, hosts: list[str], handle: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        """Answer the questions to these hosts with ``handle(host, question)`` until cancelled. A HostFailed that it
        raises is raised by ``ask``."""
        ...


class Beat(NamedTuple):
    """A sign of life of a process or a host."""

    name: str
    """``role/host`` — ``compute/node1``, ``projector/node1``."""
    time: datetime
    facts: dict[str, object]


class Liveness(Protocol):
    """Signs of life: the last one of each sender is kept, none is history."""

    async def beat(self, name: str, facts: dict[str, object]) -> None:
        """Say that ``name`` lives."""
        ...

    def watch(self) -> AsyncIterator[Beat]:
        """First the last beat of every sender, then each new one, for ever."""
        ...


class Positions(Protocol):
    """How far the projections have read, for read-your-writes."""

    async def announce(self, projection: str, cell: str, position: int) -> None:
        """A projection says that it answers with everything up to ``position``."""
        ...

    async def reached(self, projection: str, cell: str, position: int, timeout: float) -> bool:
        """Wait until the projection has announced ``position``; False if it has not in ``timeout`` seconds."""
        ...


class Queries(Protocol):
    """What can be asked of the projections. They may be behind the log; see Positions."""

    async def server(self, server_id: str) -> Server | None:
        """A server, also a deleted one; None if there never was one of that id."""
        ...

    async def servers(self, wanted: ServerFilter) -> list[Server]:
        """One page of servers. Raises Invalid for an unknown marker or a malformed regular expression."""
        ...

    async def actions(self, server_id: str) -> list[InstanceAction]:
        """What was asked of a server, newest first."""
        ...

    async def action(self, server_id: str, request_id: str) -> InstanceAction | None:
        """What one request did to a server."""
        ...

    async def migrations(self, wanted: MigrationFilter) -> list[Migration]:
        """One page of migrations, the newest first. Raises Invalid for an unknown marker."""
        ...


class Vault(Protocol):
    """Keys outside the log: destroying a key erases what was sealed with it, for ever."""

    async def seal(self, owner: str, plaintext: bytes) -> str:
        """Encrypt under the owner's key, made at the first use; returns text fit for an event. Raises Unavailable."""
        ...

    async def unseal(self, owner: str, sealed: str) -> bytes | None:
        """Decrypt; None once the key was destroyed. Raises Invalid for what was altered, and Unavailable."""
        ...

    async def destroy(self, owner: str) -> None:
        """Destroy the owner's key; harmless if there is none. Raises Unavailable."""
        ...

    async def owners(self) -> list[str]:
        """Who has a key. Raises Unavailable."""
        ...


class GuestEvent(NamedTuple):
    """A guest changed by itself (or by ``virsh``)."""

    state: GuestState


class Hypervisor(Protocol):
    """One host's hypervisor. Every operation is idempotent; failures raise HostFailed."""

    async def describe(self) -> HostDescription:
        """What the host offers."""
        ...

    async def guests(self) -> list[GuestState]:
        """Every guest of ours on the host, running or not."""
        ...

    async def build(self, spec: GuestSpec) -> GuestState:
        """Make the guest and start it, unless it shall be off. A guest of the same epoch that is there already is
        completed and started; of an older generation, it gets a fresh disk, once everything for it is at hand. A
        leftover of an older epoch is replaced."""
        ...

    async def start(self, spec: GuestSpec) -> GuestState:
        """Have it running, as ``spec`` now says; the disk stays what it is. A paused guest goes on, a suspended one
        with the memory that was kept."""
        ...

    async def pause(self, server_id: str) -> GuestState:
        """Have a running guest stand still, in memory."""
        ...

    async def suspend(self, server_id: str) -> GuestState:
        """Put a running guest's memory on disk, and free the host's."""
        ...

    async def inject_nmi(self, server_id: str) -> GuestState:
        """Interrupt a guest that runs or is paused, in a way that its system cannot mask. A second one finds it doing
        what the first has brought about."""
        ...

    async def snapshot(self, server_id: str, image_id: str) -> GuestState:
        """Have what the guest's disk holds at one moment here as a file of its own, for that image; the guest goes on
        as it is, and runs all the time if it runs. Where there is one for this image already it is that; what was
        made for another one and not sent is removed."""
        ...

    async def upload(self, server_id: str, image_id: str) -> GuestState:
        """Send that file to the image service, all of it, whatever came of an attempt before. Then it is removed
        here, and only that it was sent is remembered. What fails removes it as well."""
        ...

    async def stop(self, server_id: str, timeout: float) -> GuestState:
        """Ask the guest to shut down; after ``timeout`` seconds power it off."""
        ...

    async def reboot(self, spec: GuestSpec, *, hard: bool, timeout: float) -> GuestState:
        """Restart as ``spec`` now says, into or out of a rescue, too: hard by power cycle, soft by the guest
        itself, becoming hard after ``timeout`` seconds. Memory that was kept is forgotten."""
        ...

    async def give(self, server_id: str, timeout: float) -> GuestState:
        """Have the guest shut down, as ``stop`` does, and only its disk left: it is no longer among the guests, until
        this host is told to adopt, start or reboot it."""
        ...

    async def offer(self, server_id: str, epoch: int) -> DiskOffer | None:
        """Where another host can fetch the disk that was given, for the assignment of that epoch; None where that is
        nowhere to be fetched from. Asked again for the same one, it is the same place; for another, nowhere else."""
        ...

    async def prepare(self, spec: GuestSpec) -> GuestState:
        """Have everything here that a running guest needs to come from another host. It is no guest of this host
        until it comes. Raises InLine while others come first."""
        ...

    async def arrival(self, server_id: str) -> Arrival | None:
        """How a guest comes here for which all is prepared; None where that needs nothing to be known."""
        ...

    async def leave(self, server_id: str, target: Peer, orders: Callable[[], Orders]) -> GuestState:
        """Have the guest at the target, running all the time; it is no guest of this host afterwards. ``orders``
        tells what is wanted by now: when its time is over, or somebody says so, it stays, or is made to end soon.
        Whatever fails leaves it running here; one that is there already has left. One that stands still does so
        there, too."""
        ...

    async def progress(self, server_id: str) -> Progress | None:
        """How far a guest is that leaves; None if it does not leave now, or nothing is known of it."""
        ...

    async def receive(self, spec: GuestSpec, source: Peer) -> GuestState:
        """Make the guest with the disk that was given at ``source``, where that stays as it is, and start it
        unless it shall be off. The disk becomes as large as ``spec`` says. One of the same epoch that is here already
        is completed. A move within this host keeps what was here before, until one of the two is discarded. What
        fails leaves nothing of that epoch."""
        ...

    async def recreate(self, spec: GuestSpec) -> GuestState:
        """Make the guest of a server whose host is dead, and start it unless it shall be off: with the disk that it
        had, if that can be had here, for hosts may have disks in common; else from its image. One of the same epoch
        that is here already is completed, a leftover of an older one is replaced. What fails leaves nothing of that
        epoch."""
        ...

    async def adopt(self, spec: GuestSpec) -> GuestState:
        """Have the guest that is here, given or not, of that epoch or an older one, as ``spec`` says, and of its
        epoch: it runs, unless it shall be off."""
        ...

    async def discard(self, server_id: str, epoch: int) -> None:
        """Remove what is here of one assignment; harmless if nothing is. What is of another one stays; what a move
        within this host had set aside for it is again what it was."""
        ...

    async def destroy(self, server_id: str) -> None:
        """Remove the guest and everything of it on this host; harmless if it is not there."""
        ...

    async def console_log(self, server_id: str, lines: int | None) -> str:
        """The last ``lines`` lines (all, if None) of the guest's serial console."""
        ...

    async def console(self, server_id: str, protocol: str) -> ConsoleAddress | None:
        """Where the guest's console (vnc, spice, serial) can be reached now; None if it has no such console."""
        ...

    def watch(self) -> AsyncIterator[GuestEvent]:
        """Changes of power state, as they happen, for ever. Ends (raises HostFailed) when the connection to
        the hypervisor is lost; watch again then."""
        ...


class ImageFiles(Protocol):
    """Where a host gets the bytes of images, and where it sends them."""

    async def download(self, image_id: str, target: Path) -> None:
        """Write the image's stored bytes to ``target``. Raises HostFailed or Unavailable."""
        ...

    async def upload(self, image_id: str, source: BinaryIO) -> None:
        """Have all that is in ``source`` stored as the image's bytes. To send them again is harmless. Raises
        HostFailed if the image does not take them, or is not there any more; Unavailable."""
        ...


class Clock(Protocol):
    """Time, so that the simulation can own it."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        ...


class Ids(Protocol):
    """Randomness, so that the simulation can own it."""

    def uuid(self) -> str:
        """A new random UUID, in its usual text form."""
        ...
