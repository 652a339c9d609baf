"""The rules of flavors, keypairs, quotas, hosts, tokens, and of what operators decide."""

from collections.abc import Iterable

from msgspec.structs import replace

from domain.catalogue import flavor, keypair, quota, server_group
from domain.catalogue.flavor import FlavorCreated, FlavorDeleted, FlavorExtraSpecsSet, Flavors
from domain.catalogue.keypair import KeypairCreated, KeypairDeleted
from domain.catalogue.quota import (
    Limits,
    LimitsSet,
    Quota,
    QuotaChange,
    ReservationChanged,
    ReservationReleased,
    Reserved,
)
from domain.catalogue.server_group import ServerGroupCreated, ServerGroupDeleted
from domain.fleet import host
from domain.fleet.host import (
    Host,
    HostDescribed,
    HostDisabled,
    HostEnabled,
    HostEnrolled,
    HostForcedDown,
    HostForgotten,
    HostLetUp,
)
from domain.log.batch import Change
from domain.log.checkpoint import CheckpointSigned
from domain.log.record import Event, Metadata
from domain.log.recovery import RecoveryDecided
from domain.log.skip import EventSkipped
from domain.redecision.rules import Batch, Rule, as_said, there


def _key_created(keys: keypair.Keypairs | None, event: KeypairCreated, _meta: Metadata) -> Event:
    return keypair.create(
        keys, name=event.name, key_type=event.key_type, public_key=event.public_key, fingerprint=event.fingerprint
    )


def _enrolled(known: Host | None, event: HostEnrolled, _meta: Metadata) -> Event | None:
    decided = host.enrol(known, event.host_id, event.description)
    zone = event.availability_zone
    return replace(decided, availability_zone=zone) if isinstance(decided, HostEnrolled) else decided


def _described(known: Host | None, event: HostDescribed, _meta: Metadata) -> Event | None:
    """By the host itself, or by the operator who says where it is: he may say more."""
    host.check(event.description)
    return None if there(known).description == event.description else event


def _quota(state: Quota, change: QuotaChange, limits: Limits) -> Iterable[Change]:
    match change:
        case Reserved():
            if change.server_id in state.reservations:
                return ()
            return quota.reserve(
                state, limits, [change.server_id], cell=change.cell, at_least=1, cores=change.cores,
                ram_mb=change.ram_mb, request_id=None, group_id=change.group_id,
            )  # fmt: skip
        case ReservationChanged():
            held = state.reservations.get(change.server_id)
            cores, ram_mb = change.cores, change.ram_mb
            if held and (cores > held.cores or ram_mb > held.ram_mb):
                return quota.widen(
                    state, limits, change.server_id, cores=cores, ram_mb=ram_mb, request_id=None
                )  # fmt: skip
            return quota.settle(state, change.server_id, cores=cores, ram_mb=ram_mb, request_id=None)
        case ReservationReleased():
            return quota.release(state, change.server_id, None)
        case LimitsSet():
            return (change,)


RULES: dict[type[Event], Rule] = {
    FlavorCreated: lambda flavors, event, _: flavor.create(flavors or Flavors(), event.flavor),
    FlavorDeleted: lambda flavors, event, _: flavor.delete(there(flavors), event.flavor_id),
    FlavorExtraSpecsSet: lambda flavors, event, _: flavor.set_extra_specs(
        there(flavors), event.flavor_id, event.extra_specs
    ),
    KeypairCreated: _key_created,
    KeypairDeleted: lambda keys, event, _: keypair.delete(keys, event.name),
    # How many a project may have is told by its quota, another aggregate's.
    ServerGroupCreated: lambda groups, event, _: server_group.create(groups, event, quota.UNLIMITED),
    ServerGroupDeleted: lambda groups, event, _: server_group.delete(groups, event.group_id),
    HostEnrolled: _enrolled,
    HostDescribed: _described,
    HostDisabled: lambda known, event, _: host.disable(known, "", event.reason),
    HostEnabled: lambda known, _event, _: host.enable(known, ""),
    HostForcedDown: lambda known, _event, _: host.force_down(known, ""),
    HostLetUp: lambda known, _event, _: host.let_up(known, ""),
    HostForgotten: lambda known, _event, _: host.forget(known),
    # What was seen and signed by the log's own keeper; the log itself is verified by it, not the other way round.
    CheckpointSigned: as_said,
    RecoveryDecided: as_said,
    EventSkipped: as_said,
}
BATCHES: dict[str, Batch] = {quota.KIND.name: _quota}
