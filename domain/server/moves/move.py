"""A server's way from one host, or one size, to another: what is known of it while it lasts.

Its words are Nova's: a *migration* has a source and a destination, here a target; ``kind`` is its migration_type.
"""

from datetime import datetime
from typing import Literal

import msgspec

from domain.catalogue.flavor import Flavor
from domain.server.moves.orders import ABORT, Order, Policy

Kind = Literal["resize", "migration", "live-migration", "evacuation"]
RESIZE: Kind = "resize"
MIGRATION: Kind = "migration"
LIVE_MIGRATION: Kind = "live-migration"
EVACUATION: Kind = "evacuation"

SOURCE, TARGET = "source", "target"
"""Which of its two hosts is told something."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One assignment of a server to a host."""

    host: str
    host_id: str
    availability_zone: str
    epoch: int


class Move(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From when it was accepted until it is confirmed or reverted, or has come to nothing."""

    id: str
    """A uuid, as Nova's migrations have; the consumer under which the claim on the other host stands."""
    kind: Kind
    source: Place
    flavor: Flavor
    """That it has at its source."""
    new_flavor: Flavor
    """And at its target."""
    vm_state: str
    """In which it is again when it has arrived, or is back."""
    leg: str | None = None
    """What is being done: a task's state, see ``domain.server.reported``. None while a target is looked for, and
    while the user's word is waited for."""
    requested_host: str | None = None
    target: Place | None = None
    failed_hosts: tuple[str, ...] = ()
    """Targets that could not take it, in the order tried."""
    touched: bool = False
    """Whether its source may have been told to give it."""
    way_back: int | None = None
    """The epoch in which its source takes it back, once it has been elsewhere."""
    confirm_after: float | None = None
    """Seconds after the arrival at which it counts as confirmed; None waits for the user's word."""
    confirm_at: datetime | None = None
    """When that is, once it has arrived."""
    arrives_off: bool = False
    """Whether its guest is powered off at its target, whatever the server was."""
    policy: Policy = ABORT
    """What is done at the deadline with one that goes on live."""
    order: Order | None = None
    """What was said of it while it was under way."""
    order_request: str | None = None
    """The request by which."""
    lost: bool = False
    """Nobody can say where the guest is until one of its hosts does."""

    @property
    def may_stay(self) -> bool:
        """Whether it may end on the host where it began: only the size has to be another."""
        return self.kind == RESIZE and self.requested_host is None

    def at(self, side: str) -> Place:
        """The assignment that a task at ``side`` is about."""
        if side == TARGET:
            assert self.target
            return self.target
        if self.way_back is None:
            return self.source
        return msgspec.structs.replace(self.source, epoch=self.way_back)

    @property
    def places(self) -> tuple[Place, ...]:
        """Wherever something of the server may be by its order."""
        found = (self.source, self.at(SOURCE)) if self.way_back is not None else (self.source,)
        return (*found, self.target) if self.target else found


class Remains(msgspec.Struct, frozen=True, kw_only=True):
    """What may be left of a server on the dead host from which it was evacuated."""

    move_id: str
    """Of the evacuation; under it the claim on that host stands."""
    place: Place
