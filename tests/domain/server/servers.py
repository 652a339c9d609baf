"""Servers in every state, told by their events."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from domain.catalogue.flavor import Flavor
from domain.guest import ImageSource, PowerState
from domain.log.record import Event, Metadata
from domain.server import parts
from domain.server.action import ServerActionFailed
from domain.server.actions.create_image import ServerDiskSaved, ServerImageRequested
from domain.server.actions.pause import ServerPaused, ServerPauseRequested, ServerUnpauseRequested
from domain.server.actions.power import ServerStartRequested, ServerStopped, ServerStopRequested
from domain.server.actions.reboot import ServerRebootRequested
from domain.server.actions.rebuild import ServerRebuildRequested, ServerRebuilt
from domain.server.actions.rescue import ServerRescued, ServerRescueRequested, ServerUnrescueRequested
from domain.server.actions.shelve import ServerLaidDown, ServerOffloaded, ServerShelved, ServerShelveRequested
from domain.server.actions.suspend import ServerResumeRequested, ServerSuspended, ServerSuspendRequested
from domain.server.actions.unshelve import ServerUnshelveRequested
from domain.server.creation import (
    ServerAbandoned,
    ServerBuildFailed,
    ServerBuilt,
    ServerFailed,
    ServerPlaced,
    ServerRequested,
)
from domain.server.deletion import ServerDeleted, ServerDeleteRequested
from domain.server.fold import evolve
from domain.server.state import Server

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
SERVER_ID = "11111111-1111-4111-8111-111111111111"
FLAVOR = Flavor(id="1", name="m1.tiny", vcpus=1, ram_mb=512, disk_gb=1)
FAULT = parts.Fault(code=500, message="The disk is full.", details="node1: /var")

REQUESTED = ServerRequested(
    server_id=SERVER_ID, name="web", project_id="p", user_id="u", flavor=FLAVOR, deadline=LATER
)
PLACED = ServerPlaced(host="node1", host_id="h1", epoch=1, availability_zone="nova")
BUILT = ServerBuilt(epoch=1, power_state=PowerState.RUNNING)
BUILD_FAILED = ServerBuildFailed(epoch=1, fault=FAULT)
FAILED = ServerFailed(fault=FAULT)
STOP = ServerStopRequested(deadline=LATER)
STOPPED = ServerStopped(epoch=1)
START = ServerStartRequested(deadline=LATER)
SOFT_REBOOT = ServerRebootRequested(deadline=LATER, hard=False)
IMAGE = ImageSource(id="22222222-2222-4222-8222-222222222222", disk_format="qcow2", checksum="00")
REBUILD = ServerRebuildRequested(
    deadline=LATER,
    image=IMAGE,
    name="web2",
    metadata={"new": "yes"},
    description="new",
    key_name="k",
    public_key="ssh-ed25519 AAAA",
    hostname=None,
    secrets="sealed",
)
REBUILT = ServerRebuilt(epoch=1, power_state=PowerState.RUNNING)
PAUSE = ServerPauseRequested(deadline=LATER)
PAUSED = ServerPaused(epoch=1)
UNPAUSE = ServerUnpauseRequested(deadline=LATER)
SUSPEND = ServerSuspendRequested(deadline=LATER)
SUSPENDED = ServerSuspended(epoch=1, power_state=PowerState.SHUTDOWN)
RESUME = ServerResumeRequested(deadline=LATER)
RESCUE = ServerRescueRequested(deadline=LATER, image=IMAGE, secrets="sealed")
RESCUED = ServerRescued(epoch=1)
UNRESCUE = ServerUnrescueRequested(deadline=LATER)
IMAGE_REQUESTED = ServerImageRequested(deadline=LATER, image_id="33333333-3333-4333-8333-333333333333")
DISK_SAVED = ServerDiskSaved(epoch=1)
SHELVE = ServerShelveRequested(deadline=LATER, image_id="44444444-3333-4333-8333-333333333333", offload_after=None)
SHELVE_AWAY = ServerShelveRequested(deadline=LATER, image_id="44444444-3333-4333-8333-333333333333", offload_after=0)
LAID_DOWN = ServerLaidDown(epoch=1)
SHELVED = (SHELVE, LAID_DOWN, DISK_SAVED, ServerShelved(epoch=1))
AWAY = (SHELVE_AWAY, LAID_DOWN, DISK_SAVED, ServerShelved(epoch=1, offloading=True))
OFFLOADED = ServerOffloaded(epoch=1)
UNSHELVE = ServerUnshelveRequested(deadline=LATER, image=IMAGE)
PLACED_AGAIN = ServerPlaced(host="node2", host_id="h2", epoch=2, availability_zone="nova")
DELETE = ServerDeleteRequested(deadline=LATER)
DELETED = ServerDeleted()

GIVEN: dict[str, list[Event]] = {
    "nothing": [],
    "abandoned": [ServerAbandoned(server_id=SERVER_ID)],
    "requested": [REQUESTED],
    "spawning": [REQUESTED, PLACED],
    "build failed": [REQUESTED, PLACED, BUILD_FAILED],
    "failed": [REQUESTED, FAILED],
    "failed on host": [REQUESTED, PLACED, FAILED],
    "active": [REQUESTED, PLACED, BUILT],
    "stopping": [REQUESTED, PLACED, BUILT, STOP],
    "stopped": [REQUESTED, PLACED, BUILT, STOP, STOPPED],
    "starting": [REQUESTED, PLACED, BUILT, STOP, STOPPED, START],
    "rebooting": [REQUESTED, PLACED, BUILT, SOFT_REBOOT],
    "reboot failed": [REQUESTED, PLACED, BUILT, SOFT_REBOOT, ServerActionFailed(fault=FAULT, to_error=True)],
    "pausing": [REQUESTED, PLACED, BUILT, PAUSE],
    "paused": [REQUESTED, PLACED, BUILT, PAUSE, PAUSED],
    "unpausing": [REQUESTED, PLACED, BUILT, PAUSE, PAUSED, UNPAUSE],
    "suspending": [REQUESTED, PLACED, BUILT, SUSPEND],
    "suspended": [REQUESTED, PLACED, BUILT, SUSPEND, SUSPENDED],
    "resuming": [REQUESTED, PLACED, BUILT, SUSPEND, SUSPENDED, RESUME],
    "rebuilding": [REQUESTED, PLACED, BUILT, REBUILD],
    "rebuilding stopped": [REQUESTED, PLACED, BUILT, STOP, STOPPED, REBUILD],
    "rebuild failed": [REQUESTED, PLACED, BUILT, REBUILD, ServerActionFailed(fault=FAULT, to_error=True)],
    "rescuing": [REQUESTED, PLACED, BUILT, RESCUE],
    "rescued": [REQUESTED, PLACED, BUILT, RESCUE, RESCUED],
    "rescue failed": [REQUESTED, PLACED, BUILT, RESCUE, ServerActionFailed(fault=FAULT, to_error=True)],
    "unrescuing": [REQUESTED, PLACED, BUILT, RESCUE, RESCUED, UNRESCUE],
    "saving": [REQUESTED, PLACED, BUILT, IMAGE_REQUESTED],
    "uploading": [REQUESTED, PLACED, BUILT, IMAGE_REQUESTED, DISK_SAVED],
    "image failed": [REQUESTED, PLACED, BUILT, IMAGE_REQUESTED, ServerActionFailed(fault=FAULT)],
    "shelving": [REQUESTED, PLACED, BUILT, SHELVE],
    "shelving laid down": [REQUESTED, PLACED, BUILT, SHELVE, LAID_DOWN],
    "shelving saved": [REQUESTED, PLACED, BUILT, SHELVE, LAID_DOWN, DISK_SAVED],
    "shelved": [REQUESTED, PLACED, BUILT, *SHELVED],
    "offloading": [REQUESTED, PLACED, BUILT, *AWAY],
    "offloaded": [REQUESTED, PLACED, BUILT, *AWAY, OFFLOADED],
    "unshelving": [REQUESTED, PLACED, BUILT, *SHELVED, ServerUnshelveRequested(deadline=LATER)],
    "returning": [REQUESTED, PLACED, BUILT, *AWAY, OFFLOADED, UNSHELVE],
    "returning placed": [REQUESTED, PLACED, BUILT, *AWAY, OFFLOADED, UNSHELVE, PLACED_AGAIN],
    "deleting": [REQUESTED, PLACED, BUILT, DELETE],
    "deleting unplaced": [REQUESTED, DELETE],
    "deleted": [REQUESTED, PLACED, BUILT, DELETE, DELETED],
}
"""Histories by the name of the state that they lead to."""


def meta(number: int = 1) -> Metadata:
    return Metadata(event_id=str(number), time=NOW, request_id=f"req-{number}", user_id="u", project_id="p")


def given(name: str) -> Server | None:
    return told_by(GIVEN[name])


def told_by(events: Iterable[Event]) -> Server | None:
    state: Server | None = None
    for number, event in enumerate(events, start=1):
        state = evolve(state, event, meta(number))
    return state
