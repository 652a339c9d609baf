"""A guest's file systems stand still for the moment at which its image begins, if its agent answers."""

from pathlib import Path
from typing import Any, cast

import libvirt
import pytest

from adapters.libvirt.backup import begin
from adapters.libvirt.guests import Domain

AGENT = '<channel><target type="virtio" name="org.qemu.guest_agent.0" state="{}"/></channel>'
DISKS = (
    '<disk><source file="/a/disk.qcow2"/><target dev="vda"/></disk>'
    '<disk><source file="/a/config-drive.img"/><target dev="vdz"/></disk>'
)


class Guest:
    """A guest whose libvirt notes what it is asked."""

    def __init__(self, agent: str, *failing: str, active: bool = True) -> None:
        self._agent, self._failing, self._active = agent, failing, active
        self.asked: list[str] = []
        self.job = ""

    @property
    def handle(self) -> "Guest":
        return self

    def is_active(self) -> bool:
        return self._active

    def xml(self) -> str:
        return f"<domain><devices>{DISKS}{AGENT.format(self._agent)}</devices></domain>"

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> int:
            self.asked.append(name)
            if name == "backupBegin":
                self.job = arguments[0]
            if name in self._failing:
                raise libvirt.libvirtError(name)
            return 1

        return ask


def begun(guest: Guest) -> bool:
    return begin(cast("Domain", guest), Path("/a/disk.qcow2"), Path("/a/image.part"))


def test_an_agent_has_a_bounded_time_and_the_guest_goes_on_at_once() -> None:
    guest = Guest("connected")
    assert begun(guest)
    assert guest.asked == ["agentSetResponseTimeout", "fsFreeze", "backupBegin", "fsThaw"]
    assert '<disk name="vda" backup="yes" type="file"><target file="/a/image.part" />' in guest.job
    assert '<disk name="vdz" backup="no" />' in guest.job


def test_without_an_agent_that_answers_it_is_as_after_a_power_cut() -> None:
    for guest in (Guest("disconnected"), Guest("connected", "fsFreeze")):
        assert begun(guest)
        assert "fsThaw" not in guest.asked


def test_what_is_frozen_is_thawed_whatever_comes_of_it() -> None:
    guest = Guest("connected", "backupBegin", "fsThaw")
    with pytest.raises(libvirt.libvirtError, match="backupBegin"):
        begun(guest)
    assert guest.asked[-1] == "fsThaw"


def test_one_that_is_off_has_nobody_to_do_it() -> None:
    guest = Guest("connected", active=False)
    assert not begun(guest)
    assert guest.asked == []
