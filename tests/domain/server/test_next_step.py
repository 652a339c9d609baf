"""What the conductor does next, by the server's state alone."""

from datetime import timedelta

import msgspec
import pytest

from domain.guest import ImageSource
from domain.server.creation import MAX_ATTEMPTS
from domain.server.steps import (
    Command,
    DropImage,
    Expire,
    FinishDelete,
    FinishOffload,
    GiveUp,
    Place,
    Step,
    next_step,
)
from tests.domain.server.servers import GIVEN, IMAGE_REQUESTED, LATER, NOW, SHELVE, given

SOON = LATER - timedelta(seconds=1)

DISCARD = Command("node1", "discard", with_spec=False)

STEPS: dict[str, tuple[object, object]] = {
    # state: (the step in time, the step past the deadline)
    "abandoned": (None, None),
    "requested": (Place, GiveUp),
    "spawning": (Command("node1", "build"), Expire()),
    "build failed": (Place, GiveUp),
    "failed": (None, None),
    "failed on host": (None, None),
    "active": (None, None),
    "stopping": (Command("node1", "stop", with_spec=False), Expire()),
    "stopped": (None, None),
    "starting": (Command("node1", "start"), Expire()),
    "rebooting": (Command("node1", "reboot_soft"), Expire()),
    "reboot failed": (None, None),
    "pausing": (Command("node1", "pause", with_spec=False), Expire()),
    "paused": (None, None),
    "unpausing": (Command("node1", "unpause"), Expire()),
    "suspending": (Command("node1", "suspend", with_spec=False), Expire()),
    "suspended": (None, None),
    "resuming": (Command("node1", "resume"), Expire()),
    "rebuilding": (Command("node1", "rebuild"), Expire()),
    "rebuilding stopped": (Command("node1", "rebuild"), Expire()),
    "rebuild failed": (None, None),
    "rescuing": (Command("node1", "rescue"), Expire()),
    "rescued": (None, None),
    "rescue failed": (None, None),
    "unrescuing": (Command("node1", "unrescue"), Expire()),
    "saving": (Command("node1", "snapshot", with_spec=False, image_id=IMAGE_REQUESTED.image_id), Expire()),
    "uploading": (Command("node1", "upload", with_spec=False, image_id=IMAGE_REQUESTED.image_id), Expire()),
    "image failed": (DropImage(IMAGE_REQUESTED.image_id), DropImage(IMAGE_REQUESTED.image_id)),
    "shelving": (Command("node1", "stop", with_spec=False), Expire()),
    "shelving laid down": (Command("node1", "snapshot", with_spec=False, image_id=SHELVE.image_id), Expire()),
    "shelving saved": (Command("node1", "upload", with_spec=False, image_id=SHELVE.image_id), Expire()),
    "shelved": (None, None),
    "offloading": (FinishOffload(DISCARD), FinishOffload(DISCARD)),
    "offloaded": (None, None),
    "unshelving": (Command("node1", "start"), Expire()),
    "returning": (Place, GiveUp),
    "returning placed": (Command("node2", "build"), Expire()),
    "deleting": (Command("node1", "destroy", with_spec=False), FinishDelete(without_host=True)),
    "deleting unplaced": (FinishDelete(without_host=False), FinishDelete(without_host=False)),
    "deleted": (None, None),
}


def _matches(step: Step | None, expected: object) -> bool:
    return isinstance(step, expected) if isinstance(expected, type) else step == expected


@pytest.mark.parametrize("state", [name for name in GIVEN if name != "nothing"])
def test_next_step(state: str) -> None:
    server = given(state)
    assert server
    in_time, late = STEPS[state]
    assert _matches(next_step(server, SOON), in_time)
    assert _matches(next_step(server, LATER), late)


def test_another_attempt_is_another_epoch_on_another_host() -> None:
    server = given("build failed")
    assert server
    step = next_step(server, NOW)
    assert isinstance(step, Place)
    assert (step.demand.epoch, step.demand.excluded_hosts) == (2, ("node1",))


@pytest.mark.parametrize(
    ("properties", "architecture"),
    [({}, None), ({"hw_architecture": "arm64"}, "aarch64"), ({"hw_architecture": "from before"}, None)],
)
def test_the_host_is_of_the_architecture_of_the_image(properties: dict[str, str], architecture: str | None) -> None:
    server = given("requested")
    assert server
    image = ImageSource(id="i", disk_format="raw", checksum="00", properties=properties)
    step = next_step(msgspec.structs.replace(server, image=image), NOW)
    assert isinstance(step, Place)
    assert step.demand.architecture == architecture


def test_attempts_end() -> None:
    server = given("build failed")
    assert server
    tried = msgspec.structs.replace(server, failed_hosts=("node1",) * MAX_ATTEMPTS)
    step = next_step(tried, NOW)
    assert isinstance(step, GiveUp)
    assert "The disk is full." in step.message


def test_nothing_is_claimed_of_what_the_flavor_has_none_of() -> None:
    server = given("requested")
    assert server
    diskless = msgspec.structs.replace(server.flavor, disk_gb=0)
    step = next_step(msgspec.structs.replace(server, flavor=diskless), NOW)
    assert isinstance(step, Place)
    assert step.demand.resources == {"VCPU": 1, "MEMORY_MB": 512}


def test_the_scheduler_is_asked_for_what_the_flavors_specs_say() -> None:
    server = given("requested")
    assert server
    specs = {"resources:VCPU": "3", "trait:CUSTOM_A": "required", "trait:CUSTOM_B": "forbidden"}
    flavor = msgspec.structs.replace(server.flavor, extra_specs=specs)
    step = next_step(msgspec.structs.replace(server, flavor=flavor), NOW)
    assert isinstance(step, Place)
    assert step.demand.resources == {"VCPU": 3, "MEMORY_MB": 512, "DISK_GB": 1}
    assert (step.demand.required, step.demand.forbidden) == ({"CUSTOM_A"}, {"CUSTOM_B"})
