"""What would have become of recorded requests with other hosts, or with another order of preference.

The events of a cell are gone through once more. What was decided about servers is decided anew, on a ledger of its
own; everything else is as it was recorded. Which hosts were alive is in no log, so all are taken to have been.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from domain.errors import NoCapacity
from domain.fleet.host import KIND as HOST
from domain.fleet.host import Host
from domain.log.kind import advance
from domain.log.record import Recorded
from domain.placement.ledger import Claimed, Ledger, LedgerChange, LedgerChanged, Released, release
from domain.placement.scheduling import NO_VALID_HOST, HostView, Multipliers, place
from domain.server.creation import ServerFailed
from domain.server.deletion import ServerDeleted
from domain.server.fold import KIND as SERVER
from domain.server.state import Server
from domain.server.steps import demand


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
        self._servers[server_id] = server

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
        if isinstance(event, ServerDeleted):
            self._apply(*release(self.ledger, server_id, None))
        self._servers[server_id] = advance(SERVER, before, recorded)

    def _take_change(self, change: LedgerChange) -> None:
        if isinstance(change, Claimed) and change.epoch and (server := self._servers.get(change.consumer_id)):
            self.placed += 1
            self._decide(server, change.epoch - 1, self._name(change))
        elif not isinstance(change, Released) or change.consumer_id in self.ledger.claims:
            self._apply(change)

    def _decide(self, server: Server, epoch: int, recorded: str | None) -> None:
        asked = replace(demand(server), epoch=epoch + 1)
        try:
            claim = place(self.ledger, self._views, asked, self._multipliers)
        except NoCapacity as error:
            if recorded is not None:
                self.changed.append(Changed(server.id, server.name, recorded, None, error.message))
            return
        self._apply(claim)
        instead = self._name(claim)
        if instead != recorded:
            self.changed.append(Changed(server.id, server.name, recorded, instead))

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
        )

    def _name(self, claim: Claimed) -> str:
        for provider_id in claim.allocations:
            if view := self._views.get(provider_id):
                return view.name
        return next(iter(claim.allocations))
