"""What is missing for a server to be as its events want it: the heart of the level-triggered conductor."""

from datetime import datetime

import msgspec

from domain import flavor_specs, image_properties
from domain.guest import GuestSpec
from domain.scheduling import Wanted
from domain.server.decide import MAX_ATTEMPTS
from domain.server.state import DELETED, STOPPED, Server


class Place(msgspec.Struct, frozen=True):
    """Claim a host, allocate the addresses, record both."""

    wanted: Wanted


class GiveUp(msgspec.Struct, frozen=True):
    """Release what is held, and record that the creation failed."""

    message: str


class Command(msgspec.Struct, frozen=True):
    """Tell the host to do ``kind``: one of those in COMMAND_OF_TASK."""

    host: str
    kind: str


class Expire(msgspec.Struct, frozen=True):
    """Record that the action did not end in time."""


class FinishDelete(msgspec.Struct, frozen=True):
    """Release what is held, and record the deletion."""

    without_host: bool


Step = Place | GiveUp | Command | Expire | FinishDelete

COMMAND_OF_TASK = {
    "spawning": "build",
    "powering-off": "stop",
    "powering-on": "start",
    "rebooting": "reboot_soft",
    "rebooting_hard": "reboot_hard",
    "pausing": "pause",
    "unpausing": "unpause",
    "suspending": "suspend",
    "resuming": "resume",
    "rebuilding": "rebuild",
    "rescuing": "rescue",
    "unrescuing": "unrescue",
    "deleting": "destroy",
}


def next_step(server: Server, now: datetime) -> Step | None:
    """The one thing to do next; None if nothing is under way."""
    action = server.action
    if action is None or server.vm_state == DELETED:
        return None
    late = now >= action.deadline
    if action.name == "delete":
        if server.host is None or late:
            return FinishDelete(without_host=server.host is not None)
        return Command(server.host, "destroy")
    if server.is_creating and server.host is None:
        if late:
            return GiveUp("The creation did not finish in time.")
        if len(server.failed_hosts) >= MAX_ATTEMPTS:
            cause = server.fault.message if server.fault else ""
            return GiveUp(f"Exceeded maximum number of retries. The last attempt: {cause}")
        return Place(wanted(server))
    if late:
        return Expire()
    assert server.host is not None
    assert server.task_state is not None
    return Command(server.host, COMMAND_OF_TASK[server.task_state])


def wanted(server: Server) -> Wanted:
    """What the server needs of a host, for its next assignment."""
    flavor = server.flavor
    disk_gb = flavor.disk_gb + flavor.ephemeral_gb + (flavor.swap_mb + 1023) // 1024
    specs = flavor_specs.scheduling(flavor.extra_specs)
    resources = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram_mb, "DISK_GB": disk_gb} | specs.resources
    return Wanted(
        server_id=server.id,
        epoch=server.epoch + 1,
        project_id=server.project_id,
        user_id=server.user_id,
        resources={name: amount for name, amount in resources.items() if amount},
        availability_zone=server.requested_zone,
        host=server.requested_host,
        excluded_hosts=server.failed_hosts,
        architecture=image_properties.architecture(server.image.properties) if server.image else None,
        request_id=server.action.request_id if server.action else None,
        required=specs.required,
        forbidden=specs.forbidden,
    )


def guest_spec(server: Server) -> GuestSpec:
    """What its host is told to make of the guest."""
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
        image=server.image,
        nics=server.nics,
        metadata=server.metadata,
        extra_specs=server.flavor.extra_specs,
        config_drive=server.config_drive,
        generation=server.generation,
        rescue_image=server.rescue.image if server.rescue else None,
        powered_on=server.vm_state != STOPPED,
    )
