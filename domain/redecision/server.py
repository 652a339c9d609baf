"""The rules of servers."""

from datetime import datetime

from domain.guest import GuestState, PowerState
from domain.log.record import Event, Metadata
from domain.redecision.rules import Rule, there
from domain.server import creation, deletion, details, erasure, observation, password, reported, reset
from domain.server.action import Action, ActionDone, ServerActionFailed
from domain.server.actions import create_image, reboot, rebuild, rescue, shelve, unshelve
from domain.server.actions.all import ACTIONS
from domain.server.actions.create_image import ServerDiskSaved, ServerImageDropped
from domain.server.actions.shelve import ServerLaidDown, ServerOffloaded, ServerOffloadRequested
from domain.server.creation import (
    ServerAbandoned,
    ServerBuildFailed,
    ServerBuilt,
    ServerFailed,
    ServerPlaced,
    ServerRequested,
)
from domain.server.deletion import ServerDeleted, ServerDeleteRequested, ServerElsewhereCleared
from domain.server.details import (
    ServerAccessAddressesChanged,
    ServerDescribed,
    ServerHostnameChanged,
    ServerLocked,
    ServerMetadataChanged,
    ServerRenamed,
    ServerTagsChanged,
    ServerUnlocked,
)
from domain.server.erasure import ErasureDecided
from domain.server.moves import cold, course, dead_hosts, evacuation, live, steering
from domain.server.moves.cold import (
    ServerMigrateRequested,
    ServerMoved,
    ServerResizeConfirmed,
    ServerResizeConfirmRequested,
    ServerResizeRequested,
    ServerResizeReverted,
    ServerResizeRevertRequested,
    ServerSourceReady,
)
from domain.server.moves.course import (
    ServerMoveAbandoned,
    ServerMoveReturned,
    ServerTargetChosen,
    ServerTargetCleared,
    ServerTargetFailed,
)
from domain.server.moves.dead_hosts import ServerTargetLeft
from domain.server.moves.evacuation import ServerEvacuated, ServerEvacuateRequested, ServerRemainsRemoved
from domain.server.moves.live import (
    ServerArrived,
    ServerLiveMigrated,
    ServerLiveMigrateRequested,
    ServerTargetReady,
)
from domain.server.moves.steering import (
    ServerMigrationAbortRequested,
    ServerMigrationForceCompleteRequested,
    ServerMigrationLost,
    ServerMigrationPolicyChanged,
    Which,
)
from domain.server.observation import ServerPowerChanged
from domain.server.parts import Fault
from domain.server.password import ServerPasswordCleared, ServerPasswordSet
from domain.server.reset import ServerStateReset
from domain.server.state import Server, existing


def _here(server: Server | None) -> Server:
    return existing(server, server.id if server else "")


def _begins(action: Action) -> Rule:
    return lambda server, event, _meta: action.request(_here(server), event.deadline)


def _done(server: Server | None, event: ActionDone, _meta: Metadata) -> Event | None:
    """What a host reports is what the server's task was about."""
    server = _here(server)
    task = reported.task_of(server)
    if task is None or server.action is None:
        return None
    power = getattr(event, "power_state", PowerState.NOSTATE)
    guest = GuestState(
        server_id=server.id, epoch=event.epoch, power_state=power, downtime_ms=getattr(event, "downtime_ms", None)
    )
    return reported.done(server, task.command, server.action.version, guest)


def _failed(server: Server | None, event: ServerActionFailed, meta: Metadata) -> Event | None:
    """By what its host says, or because time is up."""
    server = _here(server)
    if server.action is None:
        return None
    late = reported.expired(server, meta.time, server.action.request_id)
    if late == event:
        return late
    return unshelve.given_up(server, event.fault) or _failure(server, event.fault, meta.time)


def _offload(server: Server | None, event: ServerOffloadRequested, _meta: Metadata) -> Event | None:
    """By its user, or by the end of its time."""
    by_time = shelve.offloaded_by_time(server, event.deadline - shelve.OFFLOAD.time)
    return by_time or shelve.OFFLOAD.request(_here(server), event.deadline)


def _failure(server: Server, fault: Fault, now: datetime) -> Event | None:
    """By what a host says of what it is told now."""
    task = reported.task_of(server)
    if task is None or server.action is None:
        return None
    epoch = reported.told(server, task)[1]
    return reported.failed(server, task.command, epoch, server.action.version, fault, now)


def _target_failed(server: Server | None, event: ServerTargetFailed, meta: Metadata) -> Event | None:
    return _failure(_here(server), event.fault, meta.time)


def _abandoned(server: Server | None, event: ServerMoveAbandoned, _meta: Metadata) -> Event | None:
    """By what its source says, for want of a host, or because time is up."""
    return course.abandoned(server, event.fault, event.deadline - course.TIME_BACK, event.removed)


def _returned(server: Server | None, event: ServerMoveReturned, meta: Metadata) -> Event | None:
    return course.returned(server) or _done(server, event, meta)


def _spoken_of(server: Server) -> Which:
    """The migration that is under way: no other can be steered."""
    return Which(0, server.move.id if server.move else "", "")


def _abort(server: Server | None, _event: ServerMigrationAbortRequested, _meta: Metadata) -> Event | None:
    server = _here(server)
    return steering.abort(server, _spoken_of(server), waiting_too=True)


def _force(server: Server | None, _event: ServerMigrationForceCompleteRequested, _meta: Metadata) -> Event | None:
    server = _here(server)
    return steering.force_complete(server, _spoken_of(server))


def _other_policy(server: Server | None, event: ServerMigrationPolicyChanged, _meta: Metadata) -> Event | None:
    server = _here(server)
    return steering.change_policy(server, _spoken_of(server), event.policy, event.deadline)


def _confirmed(server: Server | None, event: ServerResizeConfirmed, _meta: Metadata) -> Event | None:
    return cold.confirmed(server, without_host=event.without_host)


def _confirm(server: Server | None, event: ServerResizeConfirmRequested, _meta: Metadata) -> Event | None:
    """By its user, or by the end of its time."""
    by_time = cold.confirmed_by_time(server, event.deadline - cold.CONFIRM.time)
    return by_time or cold.CONFIRM.request(_here(server), event.deadline)


def _build_failed(server: Server | None, event: ServerBuildFailed, meta: Metadata) -> Event | None:
    return _failure(_here(server), event.fault, meta.time)


def _creation_failed(server: Server | None, event: ServerFailed, meta: Metadata) -> Event | None:
    """No host was found, or time is up."""
    late = reported.expired(server, meta.time, server.action.request_id if server and server.action else "")
    return late if late == event else creation.given_up(server, event.fault, event.removed)


def _locked(server: Server | None, event: ServerLocked, _meta: Metadata) -> Event | None:
    server = _here(server)
    return details.lock(server, project_id=server.project_id if event.by_owner else None, reason=event.reason)


def _unlocked(server: Server | None, _event: ServerUnlocked, _meta: Metadata) -> Event | None:
    return details.unlock(_here(server), project_id=None, overrides=True)


WITH_ARGUMENTS: dict[str, Rule] = {
    reboot.REBOOT.name: lambda server, event, _: reboot.request(_here(server), event.deadline, hard=event.hard),
    rebuild.REBUILD.name: lambda server, event, _: rebuild.request(_here(server), event),
    rescue.RESCUE.name: lambda server, event, _: rescue.request(
        _here(server), event.deadline, event.image, event.secrets
    ),
    create_image.CREATE_IMAGE.name: lambda server, event, _: create_image.request(
        _here(server), event.deadline, event.image_id
    ),
    shelve.SHELVE.name: lambda server, event, _: shelve.request(
        _here(server), event.deadline, event.image_id, event.offload_after
    ),
    shelve.OFFLOAD.name: _offload,
    unshelve.UNSHELVE.name: lambda server, event, _: unshelve.request(
        _here(server), event.deadline, event.image, event.zone, event.requested_host
    ),
}
"""Of actions that are asked for with more than time."""

RULES: dict[type[Event], Rule] = {
    ServerRequested: lambda server, event, _: creation.request(server, event),
    ServerAbandoned: lambda server, event, _: creation.abandon(server, event.server_id),
    ServerPlaced: lambda server, event, _: creation.placed(server, event),
    ServerBuilt: _done,
    ServerBuildFailed: _build_failed,
    ServerFailed: _creation_failed,
    ServerResizeRequested: lambda server, event, _: cold.resize(
        _here(server), event.deadline, event.move.new_flavor, event.move.confirm_after
    ),
    ServerMigrateRequested: lambda server, event, _: cold.migrate(
        _here(server), event.deadline, event.move.requested_host, event.move.confirm_after
    ),
    ServerLiveMigrateRequested: lambda server, event, _: live.migrate(
        _here(server), event.deadline, event.move.requested_host, event.move.policy
    ),
    ServerEvacuateRequested: lambda server, event, _: evacuation.evacuate(
        _here(server),
        event.deadline,
        event.move.requested_host,
        stopped=event.move.arrives_off,
        secrets=event.secrets,
    ),
    ServerEvacuated: _done,
    ServerRemainsRemoved: lambda server, event, _: evacuation.removed(
        server, event.move_id, without_host=event.without_host
    ),
    ServerMigrationAbortRequested: _abort,
    ServerMigrationForceCompleteRequested: _force,
    ServerMigrationPolicyChanged: _other_policy,
    ServerMigrationLost: lambda server, _event, _meta: steering.lost(server),
    ServerTargetReady: _done,
    ServerArrived: _done,
    ServerLiveMigrated: lambda server, event, _: live.migrated(server, without_host=event.without_host),
    ServerTargetChosen: lambda server, event, _: course.chosen(server, event),
    ServerSourceReady: _done,
    ServerMoved: _done,
    ServerTargetFailed: _target_failed,
    ServerMoveAbandoned: _abandoned,
    ServerTargetCleared: _done,
    ServerTargetLeft: lambda server, event, _: dead_hosts.left(server, event.epoch),
    ServerMoveReturned: _returned,
    ServerResizeConfirmRequested: _confirm,
    ServerResizeConfirmed: _confirmed,
    ServerResizeRevertRequested: _begins(cold.REVERT),
    ServerResizeReverted: _done,
    **{action.requested: WITH_ARGUMENTS.get(action.name) or _begins(action) for action in ACTIONS},
    **{action.done: _done for action in ACTIONS},
    ServerDiskSaved: _done,
    ServerLaidDown: _done,
    ServerOffloaded: lambda server, event, _: shelve.offloaded(server, without_host=event.without_host),
    ServerImageDropped: lambda server, event, _: create_image.dropped(server, event.image_id),
    ServerActionFailed: _failed,
    ServerPowerChanged: lambda server, event, _: observation.power_observed(server, event.epoch, event.power_state),
    ServerRenamed: lambda server, event, _: details.rename(_here(server), event.name),
    ServerDescribed: lambda server, event, _: details.describe(_here(server), event.description),
    ServerHostnameChanged: lambda server, event, _: details.set_hostname(_here(server), event.hostname),
    ServerAccessAddressesChanged: lambda server, event, _: details.set_access_addresses(
        _here(server), {"access_ipv4": event.access_ipv4, "access_ipv6": event.access_ipv6}
    ),
    ServerMetadataChanged: lambda server, event, _: details.set_metadata(_here(server), event.metadata, replace=True),
    ServerTagsChanged: lambda server, event, _: details.set_tags(_here(server), event.tags),
    ServerLocked: _locked,
    ServerUnlocked: _unlocked,
    ServerPasswordSet: lambda server, event, _: password.set_password(server, there(server).id, event.password),
    ServerPasswordCleared: lambda server, _event, _: password.clear_password(server, there(server).id),
    ServerStateReset: lambda server, event, _: reset.request(_here(server), event.vm_state),
    ServerDeleteRequested: lambda server, event, _: deletion.request(_here(server), event.deadline),
    ServerElsewhereCleared: lambda server, _event, _: deletion.elsewhere_cleared(server),
    ServerDeleted: lambda server, event, _: deletion.deleted(server, without_host=event.without_host),
    ErasureDecided: lambda erased, event, _: erasure.decide(erased, event.server_id),
}
