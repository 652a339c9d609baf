"""Every kind of aggregate, by name: what the mapper, the generated event table and the golden samples go by."""

from typing import Any

from domain import console
from domain.catalogue import flavor, keypair, quota, server_group
from domain.fleet import host
from domain.log import checkpoint, recovery, skip
from domain.log.kind import Kind
from domain.log.record import Event
from domain.neighbours import image, network, token, volume_type
from domain.neighbours.identity import state as identity
from domain.neighbours.volume import state as storage
from domain.placement import ledger
from domain.server import erasure
from domain.server import fold as server

KINDS: dict[str, Kind[Any]] = {
    kind.name: kind
    for kind in (
        server.KIND,
        erasure.KIND,
        console.KIND,
        ledger.KIND,
        host.KIND,
        flavor.KIND,
        keypair.KIND,
        quota.KIND,
        server_group.KIND,
        network.KIND,
        image.KIND,
        storage.KIND,
        volume_type.KIND,
        token.KIND,
        identity.KIND,
        skip.KIND,
        recovery.KIND,
        checkpoint.KIND,
    )
}

EVENTS: tuple[type[Event], ...] = tuple(event for kind in KINDS.values() for event in kind.events)
