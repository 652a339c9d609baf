"""What is missing for a server to be as its events want it: the heart of the level-triggered conductor."""

from datetime import datetime

import msgspec

from domain import image_properties
from domain.catalogue import flavor_specs
from domain.guest import GuestSpec
from domain.placement.grouping import DIFFERENT_HOST, SAME_HOST
from domain.placement.scheduling import Demand
from domain.server import deletion, hints
from domain.server.actions import shelve
from domain.server.creation import MAX_ATTEMPTS
from domain.server.moves import cold, course, steering
from domain.server.reported import task_of, told
from domain.server.state import DELETED, PAUSED, STOPPED, Server


class Place(msgspec.Struct, frozen=True):
    """Claim a host, allocate the addresses, record both."""

    demand: Demand


class GiveUp(msgspec.Struct, frozen=True):
    """Release what is held, and record that the creation failed."""

    message: str


class Command(msgspec.Struct, frozen=True):
    """Tell the host to do ``kind``: what the server's task says, or to destroy the guest."""

    host: str
    kind: str
    with_spec: bool = True
    """Whether it has to be told what the guest shall be."""
    epoch: int | None = None
    """Of the assignment that it is about; None is the server's own."""
    by_peer: bool = False
    """Whether it has to be told of the move's other host."""
    image_id: str | None = None
    """The image that it is about."""


class DropImage(msgspec.Struct, frozen=True):
    """Remove an image that was made of the server and is not wanted, and record that."""

    image_id: str


class Expire(msgspec.Struct, frozen=True):
    """Record that the action did not end in time."""


class FinishDelete(msgspec.Struct, frozen=True):
    """Release what is held, and record the deletion."""

    without_host: bool


class ChooseTarget(msgspec.Struct, frozen=True):
    """Claim another host beside the one that the server has, and record it."""

    demand: Demand


class Abandon(msgspec.Struct, frozen=True):
    """Record that a move comes to nothing."""

    message: str


class FinishReturn(msgspec.Struct, frozen=True):
    """Settle the claims of a move that came to nothing before its source was told of it, and record that."""


class Confirm(msgspec.Struct, frozen=True):
    """Record that a move counts as confirmed, now that its time is over."""


class FinishConfirm(msgspec.Struct, frozen=True):
    """Settle the claims of a confirmed move, and record it, though its source does not answer."""

    discard: Command
    """That finds in its queue what it has to remove, when it comes back."""


class Offload(msgspec.Struct, frozen=True):
    """Record that a shelved server shall leave its host, now that its time is over."""


class FinishOffload(msgspec.Struct, frozen=True):
    """Give back what a server that leaves its host claims there, and record it, though that does not answer."""

    discard: Command
    """That finds in its queue what it has to remove, when it comes back."""


class ClearRemains(msgspec.Struct, frozen=True):
    """Have removed what is left on hosts that were dead, as soon as they are back, and give back what is claimed
    there."""


class Leave(msgspec.Struct, frozen=True):
    """Have a guest's source send it; or, if that does not live any more, record that nobody knows where the guest is,
    and look for it."""

    command: Command
    overdue: bool = False
    """Whether a source that lives has ended it by now. Before, one may be silent for a while; unless it was declared
    dead."""


Step = (
    Place | GiveUp | Command | Expire | DropImage | FinishDelete | ChooseTarget | Abandon | FinishReturn | Confirm
    | FinishConfirm | Offload | FinishOffload | ClearRemains | Leave
)  # fmt: skip


def next_step(server: Server, now: datetime) -> Step | None:
    """The one thing to do next; None if nothing is under way."""
    action = server.action
    if server.vm_state == DELETED:
        return None
    if action is None:
        return _at_rest(server, now)
    late = now >= action.deadline
    if action.name == deletion.NAME:
        if server.host is None or late:
            return FinishDelete(without_host=server.host is not None)
        other = deletion.elsewhere(server)
        return destroy(other.host, other.epoch) if other else destroy(server.host)
    if server.move is not None:
        return _move_on(server, now)
    if server.is_building and server.host is None:
        if late:
            return GiveUp(f"The {action.name} did not finish in time.")
        if len(server.failed_hosts) >= MAX_ATTEMPTS:
            cause = server.fault.message if server.fault else ""
            return GiveUp(f"Exceeded maximum number of retries. The last attempt: {cause}")
        return Place(demand(server))
    if late and not shelve.is_offloading(server):
        return Expire()
    task = task_of(server)
    assert server.host is not None
    assert task is not None
    image_id = server.imaging if task.of_image else None
    command = Command(server.host, task.command, task.with_spec, image_id=image_id)
    return FinishOffload(command) if late else command


def _at_rest(server: Server, now: datetime) -> Step | None:
    if server.unwanted_images:
        return DropImage(server.unwanted_images[0])
    if cold.confirmed_by_time(server, now):
        return Confirm()
    if shelve.offloaded_by_time(server, now):
        return Offload()
    return ClearRemains() if server.remains else None


def _move_on(server: Server, now: datetime) -> Step | None:
    """What is next of an action on a move."""
    move = course.moving(server)
    assert server.action
    late = now >= server.action.deadline
    if steering.is_aborted(server):
        return Abandon("The migration was aborted.")
    if course.is_choosing(server):
        if late:
            return Expire()
        if len(move.failed_hosts) >= course.MAX_ATTEMPTS:
            cause = server.fault.message if server.fault else ""
            return Abandon(f"Exceeded maximum number of retries. The last attempt: {cause}")
        return ChooseTarget(demand_of_move(server))
    if move.leg == course.RETURNING and not move.touched:
        return FinishReturn()
    task = task_of(server)
    assert task is not None
    host, epoch = told(server, task)
    assert host is not None
    command = Command(host, task.command, task.with_spec, epoch, task.by_peer)
    if move.leg == course.LIVE_LEAVING:
        return Leave(command, overdue=steering.is_overdue(server, now))
    if late and move.leg in (cold.RESIZE_CONFIRMING, course.LIVE_CLEARING):
        return FinishConfirm(command)
    if late:
        return Expire()
    return command


def destroy(host: str, epoch: int | None = None) -> Command:
    """Tell a host that a guest must not be there."""
    return Command(host, deletion.COMMAND, with_spec=False, epoch=epoch)


def demand(server: Server) -> Demand:
    """What the server needs of a host, for its next assignment."""
    asked = flavor_specs.scheduling(server.flavor)
    return Demand(
        server_id=server.id,
        epoch=server.newest_epoch + 1,
        project_id=server.project_id,
        user_id=server.user_id,
        resources=asked.resources,
        availability_zone=server.requested_zone,
        host=server.requested_host,
        excluded_hosts=server.failed_hosts,
        architecture=image_properties.architecture(server.image.properties) if server.image else None,
        request_id=server.action.request_id if server.action else None,
        required=asked.required,
        forbidden=asked.forbidden,
        group=server.group,
        same_host=server.hints.get(SAME_HOST, ()),
        different_host=server.hints.get(DIFFERENT_HOST, ()),
        near=hints.near(server),
    )


def demand_of_move(server: Server) -> Demand:
    """What the server needs of the host to which it moves."""
    move = course.moving(server)
    return msgspec.structs.replace(
        demand(msgspec.structs.replace(server, flavor=move.new_flavor)),
        epoch=server.newest_epoch + 1,
        host=move.requested_host,
        source=move.source.host,
        excluded_hosts=move.failed_hosts,
    )


def guest_spec(server: Server) -> GuestSpec:
    """What its host is told to make of the guest; while it moves, what the host that is told now is."""
    if server.move is not None and (task := task_of(server)):
        server = course.as_told(server, task)
    return GuestSpec(
        server_id=server.id,
        epoch=server.epoch,
        name=server.name,
        project_id=server.project_id,
        user_id=server.user_id,
        flavor_id=server.flavor.id,
        flavor_name=server.flavor.name,
        vcpus=server.flavor.vcpus,
        ram_mb=server.flavor.ram_mb,
        disk_gb=server.flavor.disk_gb,
        ephemeral_gb=server.flavor.ephemeral_gb,
        swap_mb=server.flavor.swap_mb,
        image=server.image,
        nics=server.nics,
        metadata=server.metadata,
        extra_specs=server.flavor.extra_specs,
        config_drive=server.config_drive,
        generation=server.generation,
        rescue_image=server.rescue.image if server.rescue else None,
        disk_image=server.shelf.image if server.shelf and server.is_returning else None,
        powered_on=server.vm_state not in {STOPPED, PAUSED},
    )
