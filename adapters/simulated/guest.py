"""What a simulated host has of a server, and how its operations behave."""

import struct
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

from domain.guest import GuestSpec, GuestState, PowerState

Operation = Literal[
    "build",
    "start",
    "stop",
    "pause",
    "suspend",
    "inject_nmi",
    "snapshot",
    "upload",
    "reboot",
    "give",
    "prepare",
    "leave",
    "receive",
    "recreate",
    "adopt",
    "discard",
    "destroy",
]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)


@dataclass
class Behaviour:
    """How one operation behaves; may be changed at any time."""

    delay: tuple[float, float] = (0.0, 0.0)
    """Seconds that it takes: evenly distributed between the two."""
    failure: float = 0.0
    """The probability that it fails."""
    fail_next: int = 0
    """So many times it fails for certain, from now on."""
    message: str = "The simulated host failed."


@dataclass
class Guest:
    """What the host has of a server."""

    spec: GuestSpec
    power_state: PowerState = PowerState.NOSTATE
    """NOSTATE until its build has come to its end."""
    boots: int = 0
    memory_kept: bool = False
    """It was suspended: its next start is no boot."""
    disk: tuple[str, ...] = ()
    """What has been done to it: which host made it, and which took it over."""
    coming: bool = False
    """All is ready for it, and it is not here yet."""
    restless: bool = False
    """It writes its memory faster than that can be sent."""
    given: bool = False
    """Only its disk is left."""
    saved: str | None = None
    """The image for which the disk was kept as it was."""
    saved_disk: tuple[str, ...] | None = None
    """That; None once it was sent."""
    aside: "Guest | None" = None
    """What it was before it was moved within its host."""

    def power_off(self) -> None:
        """Pull the plug; memory that was kept is forgotten."""
        self.power_state, self.memory_kept = PowerState.SHUTDOWN, False

    def become(self, spec: GuestSpec) -> None:
        """What is now told of the guest; its disk stays of the generation that it is."""
        self.spec = msgspec.structs.replace(spec, generation=self.spec.generation, image=self.spec.image)


def image_bytes(disk: tuple[str, ...]) -> bytes:
    """A qcow2 file with nothing in it but a name for what a simulated disk is. An image service takes it."""
    header = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 16, 1 << 20, *(0,) * 10, 4, 104)
    return header + "\n".join(disk).encode()


def state_of(guest: Guest) -> GuestState:
    return GuestState(server_id=guest.spec.server_id, epoch=guest.spec.epoch, power_state=guest.power_state)


def is_guest(guest: Guest) -> bool:
    return guest.power_state is not PowerState.NOSTATE and not guest.given
