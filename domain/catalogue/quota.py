"""Quota: what a project may use, and what each of its servers has reserved.

All of a project is one aggregate, and a reservation precedes its server, so the limit holds under any
concurrency. The limit of a resource may be -1: no limit.
"""

from collections.abc import Collection, Sequence
from functools import partial

import msgspec

from domain.errors import Refused
from domain.log.batch import Change, Journal, Undo, apply_all, journaled
from domain.log.kind import Batching, Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata

UNLIMITED = -1


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a project may use at the most."""

    instances: int = 10
    cores: int = 20
    ram_mb: int = 51200
    server_groups: int = 10
    server_group_members: int = 10
    """Of each group."""


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What one server counts for."""

    cell: str
    cores: int
    ram_mb: int
    changed: bool = False
    """Whether it is what it was not at first."""
    group_id: str | None = None
    """The server group of which it is a member."""


class Reserved(Change, tag="reserved", frozen=True, kw_only=True):
    """A server that is about to be requested counts from now on."""

    server_id: str
    cell: str
    """Where the server is about to be requested."""
    cores: int
    ram_mb: int
    group_id: str | None = None
    """The server group of which it is a member, for its life."""


class ReservationChanged(Change, tag="reservation_changed", frozen=True, kw_only=True):
    """A server that has a reservation counts for so much from now on."""

    server_id: str
    cores: int
    ram_mb: int


class ReservationReleased(Change, tag="released", frozen=True, kw_only=True):
    """A server counts no longer."""

    server_id: str


class LimitsSet(Change, tag="limits_set", frozen=True, kw_only=True):
    """The operator gave the project limits of its own; None goes back to the default."""

    limits: Limits | None


QuotaChange = Reserved | ReservationChanged | ReservationReleased | LimitsSet


class QuotaChanged(Event, tag="quota.changed", frozen=True, kw_only=True):
    """Everything that one writer changed at once, in order."""

    changes: tuple[QuotaChange, ...]


class Quota:
    """A project's limits and reservations."""

    def __init__(self) -> None:
        self.limits: Limits | None = None
        self.reservations: dict[str, Reservation] = {}
        self.members: dict[str, dict[str, None]] = {}
        """Servers by their group, the oldest first."""
        self.cores = 0
        self.ram_mb = 0

    def members_of(self, group_id: str) -> Collection[str]:
        """The servers in a group that are not deleted."""
        return self.members.get(group_id, {})

    def apply(self, change: QuotaChange) -> Undo:
        return journaled(partial(self._make, change))

    def _make(self, change: QuotaChange, journal: Journal) -> None:
        match change:
            case Reserved():
                reservation = Reservation(
                    cell=change.cell, cores=change.cores, ram_mb=change.ram_mb, group_id=change.group_id
                )
                self._end(journal, change.server_id)
                self._begin(journal, change.server_id, reservation)
            case ReservationChanged():
                before = self.reservations[change.server_id]
                self._end(journal, change.server_id)
                changed = msgspec.structs.replace(before, cores=change.cores, ram_mb=change.ram_mb, changed=True)
                self._begin(journal, change.server_id, changed)
            case ReservationReleased():
                self._end(journal, change.server_id)
            case LimitsSet():
                journal.assign(self, "limits", change.limits)

    def _begin(self, journal: Journal, server_id: str, reservation: Reservation) -> None:
        journal.put(self.reservations, server_id, reservation)
        self._count(journal, reservation, 1)
        if reservation.group_id is not None:
            if reservation.group_id not in self.members:
                journal.put(self.members, reservation.group_id, {})
            journal.put(self.members[reservation.group_id], server_id, None)

    def _end(self, journal: Journal, server_id: str) -> None:
        if server_id not in self.reservations:
            return
        reservation = journal.drop(self.reservations, server_id)
        self._count(journal, reservation, -1)
        if reservation.group_id is not None:
            journal.drop(self.members[reservation.group_id], server_id)
            if not self.members[reservation.group_id]:
                journal.drop(self.members, reservation.group_id)

    def _count(self, journal: Journal, reservation: Reservation, sign: int) -> None:
        journal.assign(self, "cores", self.cores + sign * reservation.cores)
        journal.assign(self, "ram_mb", self.ram_mb + sign * reservation.ram_mb)


def aggregate(project_id: str) -> AggregateId:
    return AggregateId("quota", project_id)


def reserve(
    quota: Quota,
    default: Limits,
    server_ids: Sequence[str],
    *,
    cell: str,
    at_least: int,
    cores: int,
    ram_mb: int,
    request_id: str | None,
    group_id: str | None = None,
) -> tuple[Reserved, ...]:
    """Reserve for as many of these servers as fit, and for at least ``at_least``; each needs as much, and is a member
    of the group.

    Raises Refused (403), in Nova's words, naming what was exceeded.
    """
    limits = quota.limits or default
    used = {"instances": len(quota.reservations), "cores": quota.cores, "ram": quota.ram_mb}
    limit = {"instances": limits.instances, "cores": limits.cores, "ram": limits.ram_mb}
    each = {"instances": 1, "cores": cores, "ram": ram_mb}
    bounded = [name for name in each if limit[name] != UNLIMITED and each[name] > 0]
    room = min(((limit[name] - used[name]) // each[name] for name in bounded), default=len(server_ids))
    count = min(len(server_ids), room, _room_in(quota, limits, group_id, len(server_ids), at_least))
    if count < at_least:
        over = [name for name in bounded if limit[name] - used[name] < each[name] * at_least]

        def listed(figures: dict[str, int], times: int = 1) -> str:
            return ", ".join(str(figures[name] * times) for name in over)

        raise Refused(
            "quota.exceeded",
            f"Quota exceeded for {', '.join(over)}: Requested {listed(each, at_least)}, "
            f"but already used {listed(used)} of {listed(limit)} {', '.join(over)}",
            status=403,
        )
    return tuple(
        Reserved(server_id=server_id, cell=cell, cores=cores, ram_mb=ram_mb, request_id=request_id, group_id=group_id)
        for server_id in server_ids[:count]
    )


def _room_in(quota: Quota, limits: Limits, group_id: str | None, wanted: int, at_least: int) -> int:
    """How many of so many the group can take. Raises Refused (403) if that is less than ``at_least``."""
    if group_id is None or limits.server_group_members == UNLIMITED:
        return wanted
    room = max(0, limits.server_group_members - len(quota.members_of(group_id)))
    if room < at_least:
        raise Refused("quota.exceeded", "Quota exceeded, too many servers in group", status=403)
    return room


def widen(
    quota: Quota, default: Limits, server_id: str, *, cores: int, ram_mb: int, request_id: str | None
) -> tuple[ReservationChanged, ...]:
    """Have a server count for as much as it is and as it shall be, whichever is more; nothing to do if it does, or
    has no reservation. Raises Refused (403), in Nova's words, for what the limits do not allow."""
    held = quota.reservations.get(server_id)
    if held is None:
        return ()
    limits = quota.limits or default
    more = {"cores": max(0, cores - held.cores), "ram": max(0, ram_mb - held.ram_mb)}
    used, limit = {"cores": quota.cores, "ram": quota.ram_mb}, {"cores": limits.cores, "ram": limits.ram_mb}
    over = [
        name for name in more if more[name] and limit[name] != UNLIMITED and used[name] + more[name] > limit[name]
    ]
    if over:
        raise Refused(
            "quota.exceeded",
            f"Quota exceeded for {', '.join(over)}: Requested {', '.join(str(more[name]) for name in over)}, "
            f"but already used {', '.join(str(used[name]) for name in over)} of "
            f"{', '.join(str(limit[name]) for name in over)} {', '.join(over)}",
            status=403,
        )
    return settle(
        quota, server_id, cores=max(cores, held.cores), ram_mb=max(ram_mb, held.ram_mb), request_id=request_id
    )


def settle(
    quota: Quota, server_id: str, *, cores: int, ram_mb: int, request_id: str | None
) -> tuple[ReservationChanged, ...]:
    """Have a server count for exactly that much; nothing to do if it does, or has no reservation."""
    held = quota.reservations.get(server_id)
    if held is None or (held.cores, held.ram_mb) == (cores, ram_mb):
        return ()
    return (ReservationChanged(server_id=server_id, cores=cores, ram_mb=ram_mb, request_id=request_id),)


def release(quota: Quota, server_id: str, request_id: str | None) -> tuple[ReservationReleased, ...]:
    """Release a server's reservation; nothing to do if it has none."""
    if server_id not in quota.reservations:
        return ()
    return (ReservationReleased(server_id=server_id, request_id=request_id),)


def evolve(state: Quota | None, event: Event, _meta: Metadata) -> Quota:
    """Fold one event, in place."""
    state = state or Quota()
    if not isinstance(event, QuotaChanged):
        raise unfoldable(event)
    apply_all(state, event.changes)
    return state


KIND = Kind("quota", (QuotaChanged,), evolve, batching=Batching(lambda changes: QuotaChanged(changes=changes), Quota))
