"""Creation: a host is chosen, and builds the guest. It is no action like the others: another host may be tried."""

from datetime import datetime, timedelta

import msgspec

from domain.catalogue.flavor import Flavor
from domain.errors import Refused
from domain.guest import Nic
from domain.log.record import Event, Metadata
from domain.server.action import IDLE, ActionDoneAs, Change, Fields, Task, under_way
from domain.server.hostname import derived
from domain.server.limits import check_metadata
from domain.server.parts import Fault
from domain.server.state import ACTIVE, CREATE, DELETED, ERROR, SCHEDULING, SPAWNING, UNSHELVING, Server
from domain.server.wish import Wish, wish_of

MAX_ATTEMPTS = 3
"""On how many hosts a creation is tried."""
TIME = timedelta(minutes=10)
"""How long it may take before it ends as failed."""


class ServerRequested(Event, Wish, tag="server.requested", frozen=True, kw_only=True):
    """A user asked for a server, and was told yes."""

    server_id: str
    project_id: str
    user_id: str
    deadline: datetime
    """When the creation ends in ERROR if it has not ended before."""
    availability_zone: str | None = None
    """As asked for; None lets the scheduler choose."""
    requested_host: str | None = None
    secrets: str | None = None
    """User data, password and personality, sealed."""
    reservation_id: str = ""
    launch_index: int = 0


class ServerAbandoned(Event, tag="server.abandoned", frozen=True, kw_only=True):
    """A server id for which quota was reserved, but whose request never came: it never will."""

    server_id: str


class ServerPlaced(Event, tag="server.placed", frozen=True, kw_only=True):
    """A host was chosen, its resources are claimed, and the addresses are allocated."""

    host: str
    host_id: str
    epoch: int
    availability_zone: str
    nics: tuple[Nic, ...] = ()


class ServerBuilt(ActionDoneAs, tag="server.built", frozen=True, kw_only=True):
    """The guest runs."""


class ServerBuildFailed(Event, tag="server.build_failed", frozen=True, kw_only=True):
    """The host could not build the guest, and has nothing left of it; another may be tried."""

    epoch: int
    fault: Fault


class ServerFailed(Event, tag="server.failed", frozen=True, kw_only=True):
    """The creation has failed for good. ``removed`` counts the hosts that each scheduling rule took out."""

    fault: Fault
    removed: dict[str, int] = {}


TASK = Task(SPAWNING, "build", ServerBuilt.of)


def request(server: Server | None, event: ServerRequested) -> ServerRequested:
    """Request a server under an id nobody has used or abandoned."""
    if server is not None:
        raise Refused("server.id_used", f"Instance {event.server_id} already exists.")
    check_metadata(event.metadata)
    return event


def abandon(server: Server | None, server_id: str) -> ServerAbandoned | None:
    """Make sure that a server which was never requested never will be."""
    return None if server else ServerAbandoned(server_id=server_id)


def placed(server: Server | None, event: ServerPlaced) -> ServerPlaced | None:
    """Record the host, if one is still being looked for in that epoch."""
    wanted = server and server.host is None and server.is_building and event.epoch == server.newest_epoch + 1
    return event if wanted else None


def given_up(server: Server | None, fault: Fault, removed: dict[str, int]) -> ServerFailed | None:
    """The creation cannot succeed any more; unless a host was found meanwhile."""
    if server is None or server.host is not None or not server.is_creating:
        return None
    return ServerFailed(fault=fault, removed=removed)


def requested(event: ServerRequested, meta: Metadata) -> Server:
    """The server as its request makes it."""
    wish = wish_of(event)
    wish["hostname"] = event.hostname or derived(event.name, event.server_id)
    return Server(
        **wish,
        id=event.server_id,
        project_id=event.project_id,
        user_id=event.user_id,
        requested_zone=event.availability_zone,
        requested_host=event.requested_host,
        secrets=event.secrets,
        has_key=event.secrets is not None,
        reservation_id=event.reservation_id,
        launch_index=event.launch_index,
        created_at=meta.time,
        updated_at=meta.time,
        action=under_way(CREATE, event.deadline, meta, 1),
    )


def abandoned(event: ServerAbandoned, meta: Metadata) -> Server:
    """What stands for an id that never became a server."""
    nothing = Flavor(id="", name="", vcpus=0, ram_mb=0, disk_gb=0)
    request = ServerRequested(
        server_id=event.server_id, name="", project_id="", user_id="", flavor=nothing, deadline=meta.time
    )
    return msgspec.structs.replace(
        requested(request, meta), abandoned=True, vm_state=DELETED, task_state=None, action=None
    )


def _placed(_server: Server, event: ServerPlaced, _meta: Metadata) -> Fields:
    return {
        "task_state": SPAWNING,
        "host": event.host,
        "host_id": event.host_id,
        "epoch": event.epoch,
        "availability_zone": event.availability_zone,
        "nics": event.nics,
    }


def _built(_server: Server, event: ServerBuilt, meta: Metadata) -> Fields:
    return IDLE | {"vm_state": ACTIVE, "power_state": event.power_state, "launched_at": meta.time}


def _build_failed(server: Server, event: ServerBuildFailed, meta: Metadata) -> Fields:
    return {
        "task_state": UNSHELVING if server.is_returning else SCHEDULING,
        "failed_hosts": (*server.failed_hosts, server.host),
        "host": None,
        "host_id": None,
        "availability_zone": None,
        "fault": event.fault,
        "fault_at": meta.time,
    }


def _failed(server: Server, event: ServerFailed, meta: Metadata) -> Fields:
    nics = server.nics if server.host else ()
    return IDLE | {"vm_state": ERROR, "fault": event.fault, "fault_at": meta.time, "nics": nics}


CHANGES: dict[type[Event], Change] = {
    ServerPlaced: _placed,
    ServerBuilt: _built,
    ServerBuildFailed: _build_failed,
    ServerFailed: _failed,
}
"""For each event after the first."""
