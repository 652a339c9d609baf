"""What would have become of recorded requests with other hosts, or with another order of preference.

The events of a cell are gone through once more. What was decided about servers is decided anew, on a ledger of its
own; everything else is as it was recorded. Which hosts were alive is in no log, so all are taken to have been.

A server that moves does so from where it would have been, and ends there or at its other target, as was recorded.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from domain.errors import NoCapacity
from domain.fleet.host import KIND as HOST
from domain.fleet.host import Host
from domain.log.kind import advance
from domain.log.record import Recorded
from domain.placement.ledger import Claimed, Ledger, LedgerChange, LedgerChanged, Released, leave_group, release
from domain.placement.moving import claim_target, settle
from domain.placement.scheduling import NO_VALID_HOST, HostView, Multipliers, place
from domain.server.creation import ServerFailed
from domain.server.deletion import ServerDeleted
from domain.server.fold import KIND as SERVER
from domain.server.moves import course
from domain.server.moves.course import ServerMoveAbandoned
from domain.server.moves.evacuation import ServerEvacuated, ServerRemainsRemoved
from domain.server.moves.move import SOURCE, Move
from domain.server.state import Server
from domain.server.steps import demand, demand_of_move


class Changed(NamedTuple):
    """A server that would have come elsewhere."""

    server_id: str
    name: str
    recorded: str | None
    """The name of the host that was chosen; None if there was none."""
    instead: str | None
    why: str = ""
    """Why there would have been none."""


class WhatIf:
    """One going through."""

    def __init__(
        self,
        ledger: Ledger,
        hosts: Mapping[str, Host],
        multipliers: Multipliers,
        *,
        without: Iterable[str] = (),
        more: Mapping[str, HostView] | None = None,
    ) -> None:
        """``ledger`` and ``hosts`` (by name) are those of the moment before the first event; ``ledger`` is changed.
        ``without`` are names of hosts that get nothing, ``more`` are further hosts by id, which the ledger knows."""
        self.ledger = ledger
        self.changed: list[Changed] = []
        self.placed = 0
        """Choices that were recorded, found or not, and were made anew."""
        self.left_out = 0
        """Changes of the ledger that speak of what is not there in this course of things."""
        self._hosts = dict(hosts)
        self._multipliers = multipliers
        self._without = frozenset(without)
        self._views = {host.id: self._view(host) for host in self._hosts.values()} | dict(more or {})
        self._servers: dict[str, Server | None] = {}
        self._moves: set[str] = set()
        """The ids of moves: what was claimed in their names is decided anew with the servers' claims."""
        self._gone: set[str] = set()
        """Those of them that have found a target in this course of things."""

    def unknown(self, recorded: Recorded) -> list[str]:
        """The servers of which an event speaks that began before: they have to be told by ``know``."""
        if recorded.aggregate.kind == SERVER.name:
            asked = [recorded.aggregate.id] if recorded.version > 1 else []
        else:
            changes = recorded.event.changes if isinstance(recorded.event, LedgerChanged) else ()
            asked = [change.consumer_id for change in changes if isinstance(change, Claimed) and change.epoch]
        return [server_id for server_id in asked if server_id not in self._servers]

    def know(self, server_id: str, server: Server | None) -> None:
        """A server as it was before the first event."""
        self._note(server_id, server)
        if server and server.move and server.move.target:
            self._gone.add(server.move.id)

    def take(self, recorded: Recorded) -> None:
        """Go through one event."""
        kind, event = recorded.aggregate.kind, recorded.event
        if kind == HOST.name:
            host = advance(HOST, self._hosts.get(recorded.aggregate.id), recorded)
            assert host
            self._hosts[host.name] = host
            self._views[host.id] = self._view(host)
        elif kind == SERVER.name:
            self._take_server(recorded)
        elif isinstance(event, LedgerChanged):
            for change in event.changes:
                self._take_change(change)

    def _take_server(self, recorded: Recorded) -> None:
        server_id, event = recorded.aggregate.id, recorded.event
        before = self._servers.get(server_id)
        found_no_host = isinstance(event, ServerFailed) and NO_VALID_HOST in event.fault.message
        if found_no_host and before and before.host is None:
            self.placed += 1
            self._decide(before, before.epoch, None)
        went_nowhere = isinstance(event, ServerMoveAbandoned) and NO_VALID_HOST in event.fault.message
        if went_nowhere and before and course.is_choosing(before):
            self.placed += 1
            self._decide(before, before.newest_epoch, None)
        after = advance(SERVER, before, recorded)
        if isinstance(event, ServerEvacuated) and before and before.move:
            self._apply(*leave_group(self.ledger, before.move.id, None))
        if isinstance(event, ServerRemainsRemoved):
            self._apply(*release(self.ledger, event.move_id, None))
        elif before and before.move and not (after and after.move) and not isinstance(event, ServerEvacuated):
            # Both claims of one that was evacuated stand.
            self._end_move(before, before.move)
        if isinstance(event, ServerDeleted):
            for held in (server_id, *(left.move_id for left in (before.remains if before else ()))):
                self._apply(*release(self.ledger, held, None))
        self._note(server_id, after)

    def _note(self, server_id: str, server: Server | None) -> None:
        self._servers[server_id] = server
        if server and server.move:
            self._moves.add(server.move.id)
        if server:
            self._moves.update(left.move_id for left in server.remains)

    def _take_change(self, change: LedgerChange) -> None:
        server = self._servers.get(change.consumer_id) if isinstance(change, Claimed) and change.epoch else None
        if isinstance(change, Claimed) and server:
            # What is claimed when a move ends is no choice: the server's own event brings it about here.
            if server.move is None or course.is_choosing(server):
                self.placed += 1
                # Its group may have been deleted before: this log does not tell, but the claim does.
                held = server if change.member else replace(server, group=None)
                self._decide(held, change.epoch - 1, self._name(change))
        elif isinstance(change, Claimed | Released) and change.consumer_id in self._moves:
            return
        elif not isinstance(change, Released) or change.consumer_id in self.ledger.claims:
            self._apply(change)

    def _decide(self, server: Server, epoch: int, recorded: str | None) -> None:
        try:
            claims = self._chosen(server, epoch + 1)
        except NoCapacity as error:
            if recorded is not None:
                self.changed.append(Changed(server.id, server.name, recorded, None, error.message))
            return
        self._apply(*claims)
        instead = self._name(claims[-1])
        if instead != recorded:
            self.changed.append(Changed(server.id, server.name, recorded, instead))

    def _chosen(self, server: Server, epoch: int) -> tuple[Claimed, ...]:
        """What is claimed for it in that epoch. Raises NoCapacity."""
        move, standing = server.move, self.ledger.claims.get(server.id)
        if move is None or standing is None:
            return (place(self.ledger, self._views, replace(demand(server), epoch=epoch), self._multipliers),)
        source = self.ledger.claims.get(move.id, standing)
        asked = replace(demand_of_move(server), epoch=epoch, source=self._name(source))
        claims = claim_target(
            self.ledger, self._views, asked, move.id, may_stay=move.may_stay, multipliers=self._multipliers
        )
        self._gone.add(move.id)
        return claims

    def _end_move(self, server: Server, move: Move) -> None:
        """Its server is on one host again: on that of the two in this course which was recorded."""
        standing, kept = self.ledger.claims.get(server.id), self.ledger.claims.get(move.id)
        there = kept if kept and course.ends_at(server) == SOURCE else standing
        if there is None:
            # It was deleted meanwhile, and its own claim is released already.
            self._apply(*release(self.ledger, move.id, None))
            return
        rest, host_id = course.at_rest(server), next(iter(there.allocations))
        # Who would have found no target has stayed what it was.
        amounts = rest.amounts if kept or move.id in self._gone else there.allocations[host_id]
        is_left = standing and any(left.move_id == move.id for left in server.remains)
        left_on = next(iter(standing.allocations)) if standing and is_left else None
        self._apply(*settle(self.ledger, server.id, move.id, host_id, amounts, rest.epoch, None, left_on))

    def _apply(self, *changes: LedgerChange) -> None:
        for change in changes:
            try:
                self.ledger.apply(change)
            except KeyError:
                # It speaks of what this course of things does not have: in it, it has not happened.
                self.left_out += 1

    def _view(self, host: Host) -> HostView:
        return HostView(
            id=host.id,
            name=host.name,
            availability_zone=host.availability_zone,
            enabled=host.enabled and host.name not in self._without,
            up=True,
            architecture=host.description.architecture,
            address=host.description.host_ip,
        )

    def _name(self, claim: Claimed) -> str:
        for provider_id in claim.allocations:
            if view := self._views.get(provider_id):
                return view.name
        return next(iter(claim.allocations))
