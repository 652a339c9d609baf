"""The rules of servers."""

from domain.guest import GuestState, PowerState
from domain.log.record import Event, Metadata
from domain.redecision.rules import Rule, there
from domain.server import creation, deletion, details, erasure, observation, password, reported, reset
from domain.server.action import Action, ActionDone, ServerActionFailed
from domain.server.actions import reboot, rebuild, rescue
from domain.server.actions.all import ACTIONS
from domain.server.creation import (
    ServerAbandoned,
    ServerBuildFailed,
    ServerBuilt,
    ServerFailed,
    ServerPlaced,
    ServerRequested,
)
from domain.server.deletion import ServerDeleted, ServerDeleteRequested
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
from domain.server.observation import ServerPowerChanged
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
    task = reported.TASKS.get(server.task_state or "")
    if task is None or server.action is None:
        return None
    power = getattr(event, "power_state", PowerState.NOSTATE)
    guest = GuestState(server_id=server.id, epoch=event.epoch, power_state=power)
    return reported.done(server, task.command, server.action.version, guest)


def _failed(server: Server | None, event: ServerActionFailed, meta: Metadata) -> Event | None:
    """By what its host says, or because time is up."""
    server = _here(server)
    if server.action is None:
        return None
    late = reported.expired(server, meta.time, server.action.request_id)
    if late == event:
        return late
    return reported.failed(server, server.epoch, server.action.version, event.fault)


def _build_failed(server: Server | None, event: ServerBuildFailed, _meta: Metadata) -> Event | None:
    server = _here(server)
    return reported.failed(server, event.epoch, server.action.version if server.action else 0, event.fault)


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
}
"""Of actions that are asked for with more than time."""

RULES: dict[type[Event], Rule] = {
    ServerRequested: lambda server, event, _: creation.request(server, event),
    ServerAbandoned: lambda server, event, _: creation.abandon(server, event.server_id),
    ServerPlaced: lambda server, event, _: creation.placed(server, event),
    ServerBuilt: _done,
    ServerBuildFailed: _build_failed,
    ServerFailed: _creation_failed,
    **{action.requested: WITH_ARGUMENTS.get(action.name) or _begins(action) for action in ACTIONS},
    **{action.done: _done for action in ACTIONS},
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
    ServerDeleted: lambda server, event, _: deletion.deleted(server, without_host=event.without_host),
    ErasureDecided: lambda erased, event, _: erasure.decide(erased, event.server_id),
}
