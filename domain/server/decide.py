"""What may be asked of a server, in which state; and which reports of a host count.

The rules are Nova's (the state checks of its compute API); refusals speak Nova's words. A function returns
the event, or None where nothing is left to do; it raises Refused where a rule forbids.
"""

from datetime import datetime

from domain.errors import Refused, not_found
from domain.guest import ImageSource, PowerState
from domain.server import events as e
from domain.server.limits import check_metadata
from domain.server.parts import Fault
from domain.server.state import (
    ACTIVE,
    DELETED,
    DELETING,
    ERROR,
    PAUSED,
    PAUSING,
    POWERING_OFF,
    POWERING_ON,
    REBOOTING,
    REBOOTING_HARD,
    REBUILDING,
    RESCUED,
    RESCUING,
    RESUMING,
    SPAWNING,
    STOPPED,
    SUSPENDED,
    SUSPENDING,
    UNPAUSING,
    UNRESCUING,
    Server,
)

MAX_ATTEMPTS = 3
"""On how many hosts a creation is tried."""
HOST_TASKS = (
    SPAWNING, POWERING_OFF, POWERING_ON, REBOOTING, REBOOTING_HARD, PAUSING, UNPAUSING, SUSPENDING, RESUMING,
    REBUILDING, RESCUING, UNRESCUING,
)  # fmt: skip
"""What a host can fail at. Deletion is not among it."""
TAKEN_OVER = (REBOOTING, REBOOTING_HARD, PAUSING, UNPAUSING, SUSPENDING, RESUMING, POWERING_OFF)
"""Over which a hard reboot may be asked for: Nova's ALLOW_REBOOT, and a stop that hangs."""
TO_ERROR = (REBOOTING, REBOOTING_HARD, REBUILDING, RESCUING, UNRESCUING)
"""Where a failure leaves in doubt what the guest is; after the others it is as it was, or its power tells."""


def existing(server: Server | None, server_id: str) -> Server:
    """The server, unless it is deleted or never was."""
    if server is None or server.vm_state == DELETED:
        raise not_found("Instance", server_id)
    return server


def request(server: Server | None, event: e.ServerRequested) -> e.ServerRequested:
    """Request a server under an id nobody has used or abandoned."""
    if server is not None:
        raise Refused("server.id_used", f"Instance {event.server_id} already exists.")
    check_metadata(event.metadata)
    return event


def abandon(server: Server | None, server_id: str) -> e.ServerAbandoned | None:
    """Make sure that a server which was never requested never will be."""
    return None if server else e.ServerAbandoned(server_id=server_id)


def _check(
    server: Server, action: str, vm_states: tuple[str, ...], task_states: tuple[str | None, ...] = (None,)
) -> None:
    cannot = f"Cannot '{action}' instance {server.id} while it is in"
    if server.vm_state not in vm_states:
        raise Refused("server.state", f"{cannot} vm_state {server.vm_state}")
    if server.task_state not in task_states:
        raise Refused("server.state", f"{cannot} task_state {server.task_state}")
    if server.launched_at is None:
        raise Refused("server.state", f"Cannot '{action}' instance {server.id} while it was never launched")


def stop(server: Server | None, server_id: str, deadline: datetime) -> e.ServerStopRequested:
    """Power off an active server, or one in error."""
    _check(existing(server, server_id), "stop", (ACTIVE, ERROR))
    return e.ServerStopRequested(deadline=deadline)


def start(server: Server | None, server_id: str, deadline: datetime) -> e.ServerStartRequested:
    """Power on a stopped server."""
    _check(existing(server, server_id), "start", (STOPPED,))
    return e.ServerStartRequested(deadline=deadline)


def reboot(server: Server | None, server_id: str, deadline: datetime, *, hard: bool) -> e.ServerRebootRequested:
    """Reboot: soft while active; hard in any state with a guest, also over an action whose host does not answer."""
    server = existing(server, server_id)
    if hard:
        states = (ACTIVE, STOPPED, PAUSED, SUSPENDED, ERROR)
        _check(server, "reboot", states, (None, *TAKEN_OVER))
    else:
        _check(server, "reboot", (ACTIVE,))
    return e.ServerRebootRequested(deadline=deadline, hard=hard, supersedes=_under_way(server))


def pause(server: Server | None, server_id: str, deadline: datetime) -> e.ServerPauseRequested:
    """Have an active server stand still."""
    _check(existing(server, server_id), "pause", (ACTIVE,))
    return e.ServerPauseRequested(deadline=deadline)


def unpause(server: Server | None, server_id: str, deadline: datetime) -> e.ServerUnpauseRequested:
    """Have a paused server go on."""
    _check(existing(server, server_id), "unpause", (PAUSED,))
    return e.ServerUnpauseRequested(deadline=deadline)


def suspend(server: Server | None, server_id: str, deadline: datetime) -> e.ServerSuspendRequested:
    """Put an active server's memory on disk."""
    _check(existing(server, server_id), "suspend", (ACTIVE,))
    return e.ServerSuspendRequested(deadline=deadline)


def resume(server: Server | None, server_id: str, deadline: datetime) -> e.ServerResumeRequested:
    """Have a suspended server go on."""
    _check(existing(server, server_id), "resume", (SUSPENDED,))
    return e.ServerResumeRequested(deadline=deadline)


def rebuild(server: Server | None, server_id: str, event: e.ServerRebuildRequested) -> e.ServerRebuildRequested:
    """Give a server a fresh disk; it keeps its host, its claim and its addresses."""
    _check(existing(server, server_id), "rebuild", (ACTIVE, STOPPED, ERROR))
    check_metadata(event.metadata)
    return event


def rescue(
    server: Server | None, server_id: str, deadline: datetime, image: ImageSource | None, secrets: str | None
) -> e.ServerRescueRequested:
    """Start a server from ``image``, or from its own image if that is None, with its disk beside it."""
    server = existing(server, server_id)
    _check(server, "rescue", (ACTIVE, STOPPED, ERROR))
    image = image or server.image
    if image is None:
        raise Refused("server.not_rescuable", f"Instance {server_id} cannot be rescued: it has no image", status=400)
    return e.ServerRescueRequested(deadline=deadline, image=image, secrets=secrets)


def unrescue(server: Server | None, server_id: str, deadline: datetime) -> e.ServerUnrescueRequested:
    """Start a rescued server from its own disk again."""
    _check(existing(server, server_id), "unrescue", (RESCUED,))
    return e.ServerUnrescueRequested(deadline=deadline)


def set_password(server: Server | None, server_id: str, sealed: str) -> e.ServerPasswordSet:
    """Keep what the guest posted as its password; once, until the owner clears it."""
    if existing(server, server_id).sealed_password is not None:
        raise Refused("server.password_set", f"Instance {server_id} has posted its password already.")
    return e.ServerPasswordSet(password=sealed)


def clear_password(server: Server | None, server_id: str) -> e.ServerPasswordCleared | None:
    """Forget the posted password; None if there is none."""
    return e.ServerPasswordCleared() if existing(server, server_id).sealed_password is not None else None


def delete(server: Server | None, server_id: str, deadline: datetime) -> e.ServerDeleteRequested | None:
    """Delete in any state; None if that is under way already."""
    server = existing(server, server_id)
    if server.task_state == DELETING:
        return None
    return e.ServerDeleteRequested(deadline=deadline, supersedes=_under_way(server))


def _under_way(server: Server) -> str | None:
    return server.action.request_id if server.action else None


def _assigned(server: Server | None, epoch: int) -> Server | None:
    """The server, if it is still assigned to a host in this epoch."""
    if server is None or server.vm_state == DELETED or server.host is None or server.epoch != epoch:
        return None
    return server


def _acting(server: Server | None, epoch: int, version: int, *task_states: str) -> Server | None:
    """The server, if what is reported on is the action under way: the one accepted at ``version``."""
    server = _assigned(server, epoch)
    if server is None or server.action is None or server.action.version != version:
        return None
    return server if server.task_state in task_states else None


def placed(server: Server | None, event: e.ServerPlaced) -> e.ServerPlaced | None:
    """Record the host, if one is still being looked for in that epoch."""
    wanted = server and server.host is None and server.is_creating and event.epoch == server.epoch + 1
    return event if wanted else None


def built(server: Server | None, epoch: int, version: int, power_state: PowerState) -> e.ServerBuilt | None:
    """The host has built the guest, for the request accepted at ``version``."""
    acting = _acting(server, epoch, version, SPAWNING)
    return e.ServerBuilt(epoch=epoch, power_state=power_state) if acting else None


def failed(
    server: Server | None, epoch: int, version: int, fault: Fault
) -> e.ServerBuildFailed | e.ServerActionFailed | None:
    """The host could not do what the action accepted at ``version`` wanted. Deletion cannot fail."""
    acting = _acting(server, epoch, version, *HOST_TASKS)
    if acting is None or acting.action is None:
        return None
    if acting.is_creating:
        return e.ServerBuildFailed(epoch=epoch, fault=fault)
    return e.ServerActionFailed(fault=fault, to_error=acting.task_state in TO_ERROR)


def stopped(server: Server | None, epoch: int, version: int) -> e.ServerStopped | None:
    """The host has powered off the guest, for the request accepted at ``version``."""
    return e.ServerStopped(epoch=epoch) if _acting(server, epoch, version, POWERING_OFF) else None


def started(server: Server | None, epoch: int, version: int) -> e.ServerStarted | None:
    """The host has powered on the guest, for the request accepted at ``version``."""
    return e.ServerStarted(epoch=epoch) if _acting(server, epoch, version, POWERING_ON) else None


def rebooted(server: Server | None, epoch: int, version: int) -> e.ServerRebooted | None:
    """The host has rebooted the guest, for the request accepted at ``version``."""
    acting = _acting(server, epoch, version, REBOOTING, REBOOTING_HARD)
    return e.ServerRebooted(epoch=epoch) if acting else None


def paused(server: Server | None, epoch: int, version: int) -> e.ServerPaused | None:
    """The host has the guest stand still, for the request accepted at ``version``."""
    return e.ServerPaused(epoch=epoch) if _acting(server, epoch, version, PAUSING) else None


def unpaused(server: Server | None, epoch: int, version: int) -> e.ServerUnpaused | None:
    """The host has the guest going on, for the request accepted at ``version``."""
    return e.ServerUnpaused(epoch=epoch) if _acting(server, epoch, version, UNPAUSING) else None


def suspended(server: Server | None, epoch: int, version: int, power_state: PowerState) -> e.ServerSuspended | None:
    """The host has the guest's memory on disk, for the request accepted at ``version``."""
    acting = _acting(server, epoch, version, SUSPENDING)
    return e.ServerSuspended(epoch=epoch, power_state=power_state) if acting else None


def resumed(server: Server | None, epoch: int, version: int) -> e.ServerResumed | None:
    """The host has the guest going on, for the request accepted at ``version``."""
    return e.ServerResumed(epoch=epoch) if _acting(server, epoch, version, RESUMING) else None


def rebuilt(server: Server | None, epoch: int, version: int, power_state: PowerState) -> e.ServerRebuilt | None:
    """The host has built the guest anew, for the request accepted at ``version``."""
    acting = _acting(server, epoch, version, REBUILDING)
    return e.ServerRebuilt(epoch=epoch, power_state=power_state) if acting else None


def rescued(server: Server | None, epoch: int, version: int) -> e.ServerRescued | None:
    """The host has started the rescue system, for the request accepted at ``version``."""
    return e.ServerRescued(epoch=epoch) if _acting(server, epoch, version, RESCUING) else None


def unrescued(server: Server | None, epoch: int, version: int) -> e.ServerUnrescued | None:
    """The host has started the guest from its own disk, for the request accepted at ``version``."""
    return e.ServerUnrescued(epoch=epoch) if _acting(server, epoch, version, UNRESCUING) else None


def power_observed(server: Server | None, epoch: int, power_state: PowerState) -> e.ServerPowerChanged | None:
    """The guest's power is this. While an action is under way its own report tells instead."""
    server = _assigned(server, epoch)
    if server is None or server.task_state is not None:
        return None
    if server.launched_at is None or server.power_state == power_state:
        return None
    return e.ServerPowerChanged(epoch=epoch, power_state=power_state)


def given_up(server: Server | None, fault: Fault, removed: dict[str, int]) -> e.ServerFailed | None:
    """The creation cannot succeed any more; unless a host was found meanwhile."""
    if server is None or server.host is not None or not server.is_creating:
        return None
    return e.ServerFailed(fault=fault, removed=removed)


def expired(server: Server | None, now: datetime, request_id: str) -> e.ServerFailed | e.ServerActionFailed | None:
    """End that request's action if its deadline has passed. Deletion is completed instead, never given up."""
    action = server.action if server else None
    if action is None or action.request_id != request_id:
        return None
    if action.name == "delete" or now < action.deadline:
        return None
    fault = Fault(code=500, message=f"The {action.name} did not finish in time. Its host may be out of reach.")
    if action.name == "create":
        return e.ServerFailed(fault=fault)
    return e.ServerActionFailed(fault=fault, to_error=True)


def deleted(server: Server | None, *, without_host: bool) -> e.ServerDeleted | None:
    """Everything of the server is gone."""
    return e.ServerDeleted(without_host=without_host) if server and server.task_state == DELETING else None
