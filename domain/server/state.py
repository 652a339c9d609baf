"""The state of a server, and how each event changes it. Names and values are Nova's."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from domain.flavor import Flavor
from domain.guest import ImageSource, Nic, PowerState
from domain.kind import Kind, Snapshots, unfoldable
from domain.record import AggregateId, Event, Metadata
from domain.server import events as e
from domain.server.hostname import derived
from domain.server.parts import Fault, Lock, NetworkRequest, Rescue, UnderWay

BUILDING, ACTIVE, STOPPED, PAUSED, SUSPENDED = "building", "active", "stopped", "paused", "suspended"
RESCUED, ERROR, DELETED = "rescued", "error", "deleted"
"""vm_state: the stable state."""

SCHEDULING, SPAWNING, POWERING_OFF, POWERING_ON = "scheduling", "spawning", "powering-off", "powering-on"
REBOOTING, REBOOTING_HARD, REBUILDING = "rebooting", "rebooting_hard", "rebuilding"
PAUSING, UNPAUSING, SUSPENDING, RESUMING = "pausing", "unpausing", "suspending", "resuming"
RESCUING, UNRESCUING, DELETING = "rescuing", "unrescuing", "deleting"
"""task_state: what is being done; None if nothing is."""

VM_STATE_OF_POWER = {
    PowerState.RUNNING: ACTIVE,
    PowerState.PAUSED: PAUSED,
    PowerState.SHUTDOWN: STOPPED,
    PowerState.CRASHED: STOPPED,
    PowerState.SUSPENDED: SUSPENDED,
}
"""Where a guest's own change of power puts its server."""
FOLLOWS_POWER = (ACTIVE, STOPPED, PAUSED, SUSPENDED)
"""From elsewhere it leads nowhere: a server in error is in doubt about more than its power."""


class Server(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server, as its events tell."""

    id: str
    name: str
    project_id: str
    user_id: str
    flavor: Flavor
    image: ImageSource | None
    key_name: str | None
    public_key: str | None
    metadata: dict[str, str]
    networks: tuple[NetworkRequest, ...]
    security_groups: tuple[str, ...]
    requested_zone: str | None
    requested_host: str | None
    config_drive: bool
    description: str | None
    tags: tuple[str, ...]
    hostname: str | None
    """None only in what was folded by older versions; ``guest_name`` derives it then."""
    secrets: str | None
    reservation_id: str
    launch_index: int
    created_at: datetime
    updated_at: datetime
    version: int = 1
    vm_state: str = BUILDING
    task_state: str | None = SCHEDULING
    power_state: PowerState = PowerState.NOSTATE
    action: UnderWay | None = None
    last_action: int = 1
    """The version at which the last action was accepted."""
    host: str | None = None
    host_id: str | None = None
    availability_zone: str | None = None
    epoch: int = 0
    generation: int = 0
    """Counts the rebuilds that were accepted."""
    rescue: Rescue | None = None
    nics: tuple[Nic, ...] = ()
    failed_hosts: tuple[str, ...] = ()
    """Hosts that could not build it, in the order tried."""
    fault: Fault | None = None
    fault_at: datetime | None = None
    launched_at: datetime | None = None
    terminated_at: datetime | None = None
    lock: Lock | None = None
    has_key: bool = False
    """Whether anything was ever sealed for it: then there is a key that has to be destroyed with it."""
    sealed_password: str | None = None
    """What the guest posted as its administrator's password, sealed."""
    abandoned: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether anything is left to do for it."""
        return self.action is not None

    @property
    def is_creating(self) -> bool:
        """Whether its creation is under way."""
        return self.action is not None and self.action.name == "create"

    @property
    def never_came(self) -> bool:
        """Whether its creation was given up before it was anywhere: only its name and its quota are left.
        Having no host is not enough: one that was launched once keeps what it has, wherever it is."""
        return self.vm_state == ERROR and self.host is None and self.launched_at is None


def guest_name(server: Server) -> str:
    """The host name of the guest."""
    return server.hostname or derived(server.name, server.id)


def aggregate(server_id: str) -> AggregateId:
    """The aggregate of one server."""
    return AggregateId("server", server_id)


def _requested(event: e.ServerRequested, meta: Metadata) -> Server:
    return Server(
        id=event.server_id,
        name=event.name,
        project_id=event.project_id,
        user_id=event.user_id,
        flavor=event.flavor,
        image=event.image,
        key_name=event.key_name,
        public_key=event.public_key,
        metadata=event.metadata,
        networks=event.networks,
        security_groups=event.security_groups,
        requested_zone=event.availability_zone,
        requested_host=event.requested_host,
        config_drive=event.config_drive,
        description=event.description,
        tags=event.tags,
        hostname=event.hostname or derived(event.name, event.server_id),
        secrets=event.secrets,
        has_key=event.secrets is not None,
        reservation_id=event.reservation_id,
        launch_index=event.launch_index,
        created_at=meta.time,
        updated_at=meta.time,
        action=_action("create", event.deadline, meta, 1),
    )


def _abandoned(event: e.ServerAbandoned, meta: Metadata) -> Server:
    nothing = Flavor(id="", name="", vcpus=0, ram_mb=0, disk_gb=0)
    request = e.ServerRequested(
        server_id=event.server_id, name="", project_id="", user_id="", flavor=nothing, deadline=meta.time
    )
    return msgspec.structs.replace(
        _requested(request, meta), abandoned=True, vm_state=DELETED, task_state=None, action=None
    )


def _action(name: str, deadline: datetime, meta: Metadata, version: int) -> UnderWay:
    return UnderWay(
        name=name,
        request_id=meta.request_id,
        global_request_id=meta.global_request_id,
        user_id=meta.user_id,
        project_id=meta.project_id,
        started_at=meta.time,
        deadline=deadline,
        version=version,
    )


Fields = dict[str, Any]
IDLE: Fields = {"task_state": None, "action": None}


def _begin(name: str, task_state: str) -> Callable[[Server, Any, Metadata], Fields]:
    def fields(server: Server, event: Any, meta: Metadata) -> Fields:
        version = server.version + 1
        action = _action(name, event.deadline, meta, version)
        return {"task_state": task_state, "action": action, "last_action": version}

    return fields


def _placed(_server: Server, event: e.ServerPlaced, _meta: Metadata) -> Fields:
    return {
        "task_state": SPAWNING,
        "host": event.host,
        "host_id": event.host_id,
        "epoch": event.epoch,
        "availability_zone": event.availability_zone,
        "nics": event.nics,
    }


def _built(_server: Server, event: e.ServerBuilt, meta: Metadata) -> Fields:
    return IDLE | {"vm_state": ACTIVE, "power_state": event.power_state, "launched_at": meta.time}


def _build_failed(server: Server, event: e.ServerBuildFailed, meta: Metadata) -> Fields:
    return {
        "task_state": SCHEDULING,
        "failed_hosts": (*server.failed_hosts, server.host),
        "host": None,
        "host_id": None,
        "availability_zone": None,
        "fault": event.fault,
        "fault_at": meta.time,
    }


def _failed(server: Server, event: e.ServerFailed, meta: Metadata) -> Fields:
    nics = server.nics if server.host else ()
    return IDLE | {"vm_state": ERROR, "fault": event.fault, "fault_at": meta.time, "nics": nics}


def _stopped(_server: Server, _event: e.ServerStopped, _meta: Metadata) -> Fields:
    return IDLE | {"vm_state": STOPPED, "power_state": PowerState.SHUTDOWN}


def _running(_server: Server, _event: Event, _meta: Metadata) -> Fields:
    return IDLE | {"vm_state": ACTIVE, "power_state": PowerState.RUNNING}


def _paused(_server: Server, _event: e.ServerPaused, _meta: Metadata) -> Fields:
    return IDLE | {"vm_state": PAUSED, "power_state": PowerState.PAUSED}


def _suspended(_server: Server, event: e.ServerSuspended, _meta: Metadata) -> Fields:
    return IDLE | {"vm_state": SUSPENDED, "power_state": event.power_state}


def _reboot_requested(server: Server, event: e.ServerRebootRequested, meta: Metadata) -> Fields:
    return _begin("reboot", REBOOTING_HARD if event.hard else REBOOTING)(server, event, meta)


def _rebuild_requested(server: Server, event: e.ServerRebuildRequested, meta: Metadata) -> Fields:
    return _begin("rebuild", REBUILDING)(server, event, meta) | {
        "generation": server.generation + 1,
        "image": event.image,
        "name": event.name,
        "metadata": event.metadata,
        "description": event.description,
        "key_name": event.key_name,
        "public_key": event.public_key,
        "hostname": event.hostname or server.hostname,
        "secrets": event.secrets,
        "has_key": server.has_key or event.secrets is not None,
        # What the old system posted opens nothing in the new one, which may post its own.
        "sealed_password": None,
    }


def _rebuilt(_server: Server, event: e.ServerRebuilt, meta: Metadata) -> Fields:
    vm_state = VM_STATE_OF_POWER.get(event.power_state, ACTIVE)
    return IDLE | {"vm_state": vm_state, "power_state": event.power_state, "launched_at": meta.time}


def _rescue_requested(server: Server, event: e.ServerRescueRequested, meta: Metadata) -> Fields:
    rescue = Rescue(image=event.image, secrets=event.secrets)
    return _begin("rescue", RESCUING)(server, event, meta) | {
        "rescue": rescue,
        "has_key": server.has_key or event.secrets is not None,
    }


def _rescued(_server: Server, _event: e.ServerRescued, _meta: Metadata) -> Fields:
    return IDLE | {"vm_state": RESCUED, "power_state": PowerState.RUNNING}


def _unrescue_requested(server: Server, event: e.ServerUnrescueRequested, meta: Metadata) -> Fields:
    return _begin("unrescue", UNRESCUING)(server, event, meta) | {"rescue": None}


def _action_failed(server: Server, event: e.ServerActionFailed, meta: Metadata) -> Fields:
    vm_state = ERROR if event.to_error else server.vm_state
    # A rescue ends with its failure: what the server is started with next is its own disk.
    return IDLE | {"fault": event.fault, "fault_at": meta.time, "vm_state": vm_state, "rescue": None}


def _power_changed(server: Server, event: e.ServerPowerChanged, _meta: Metadata) -> Fields:
    follows = server.vm_state in FOLLOWS_POWER
    vm_state = VM_STATE_OF_POWER.get(event.power_state, server.vm_state) if follows else server.vm_state
    return {"power_state": event.power_state, "vm_state": vm_state}


def _detail(name: str) -> Callable[[Server, Any, Metadata], Fields]:
    """For events that say what one field is now."""
    return lambda _server, event, _meta: {name: getattr(event, name)}


def _locked(_server: Server, event: e.ServerLocked, _meta: Metadata) -> Fields:
    return {"lock": Lock(by_owner=event.by_owner, reason=event.reason)}


def _unlocked(_server: Server, _event: e.ServerUnlocked, _meta: Metadata) -> Fields:
    return {"lock": None}


def _deleted(_server: Server, _event: e.ServerDeleted, meta: Metadata) -> Fields:
    return IDLE | {
        "vm_state": DELETED,
        "power_state": PowerState.NOSTATE,
        "terminated_at": meta.time,
        "nics": (),
        "secrets": None,
        "sealed_password": None,
        "rescue": None,
        "lock": None,
    }


def _password_set(_server: Server, event: e.ServerPasswordSet, _meta: Metadata) -> Fields:
    return {"sealed_password": event.password, "has_key": True}


def _password_cleared(_server: Server, _event: e.ServerPasswordCleared, _meta: Metadata) -> Fields:
    return {"sealed_password": None}


CHANGES: dict[type[Event], Callable[[Server, Any, Metadata], Fields]] = {
    e.ServerPlaced: _placed,
    e.ServerBuilt: _built,
    e.ServerBuildFailed: _build_failed,
    e.ServerFailed: _failed,
    e.ServerStopRequested: _begin("stop", POWERING_OFF),
    e.ServerStopped: _stopped,
    e.ServerStartRequested: _begin("start", POWERING_ON),
    e.ServerStarted: _running,
    e.ServerRebootRequested: _reboot_requested,
    e.ServerRebooted: _running,
    e.ServerPauseRequested: _begin("pause", PAUSING),
    e.ServerPaused: _paused,
    e.ServerUnpauseRequested: _begin("unpause", UNPAUSING),
    e.ServerUnpaused: _running,
    e.ServerSuspendRequested: _begin("suspend", SUSPENDING),
    e.ServerSuspended: _suspended,
    e.ServerResumeRequested: _begin("resume", RESUMING),
    e.ServerResumed: _running,
    e.ServerRebuildRequested: _rebuild_requested,
    e.ServerRebuilt: _rebuilt,
    e.ServerRescueRequested: _rescue_requested,
    e.ServerRescued: _rescued,
    e.ServerUnrescueRequested: _unrescue_requested,
    e.ServerUnrescued: _running,
    e.ServerActionFailed: _action_failed,
    e.ServerPowerChanged: _power_changed,
    e.ServerRenamed: _detail("name"),
    e.ServerDescribed: _detail("description"),
    e.ServerHostnameChanged: _detail("hostname"),
    e.ServerMetadataChanged: _detail("metadata"),
    e.ServerTagsChanged: _detail("tags"),
    e.ServerLocked: _locked,
    e.ServerUnlocked: _unlocked,
    e.ServerPasswordSet: _password_set,
    e.ServerPasswordCleared: _password_cleared,
    e.ServerDeleteRequested: _begin("delete", DELETING),
    e.ServerDeleted: _deleted,
}
"""For every event after the first, the fields that it changes."""


VERSION = 3
"""Of what ``evolve`` makes of events: raised when it changes, so that what was kept of it is made anew."""


def evolve(state: Server | None, event: Event, meta: Metadata) -> Server:
    """Fold one event."""
    if isinstance(event, e.ServerRequested):
        return _requested(event, meta)
    if isinstance(event, e.ServerAbandoned):
        return _abandoned(event, meta)
    change = CHANGES.get(type(event))
    if change is None:
        raise unfoldable(event)
    assert state is not None
    fields = change(state, event, meta)
    return msgspec.structs.replace(state, updated_at=meta.time, version=state.version + 1, **fields)


def weigh(server: Server) -> int:
    """About how many bytes it takes in memory; what a user decides the size of is counted."""
    properties = server.image.properties if server.image else {}
    return 4096 + sum(len(name) + len(value) for name, value in (*server.metadata.items(), *properties.items()))


KIND = Kind("server", e.EVENTS, evolve, snapshots=Snapshots(Server, VERSION, weigh))
