"""Erasing a stack leaves nothing on the machine, or is refused; libvirt need not run for it."""

from pathlib import Path
from uuid import uuid4

import pytest

from adapters.libvirt.network import Networks
from domain.errors import HostFailed, Unavailable
from ops import remove_guests as module
from ops.embedded.libvirt import EmbeddedLibvirt, Program
from ops.remove_guests import remove_guests
from tests.aio import asynchronous
from tests.real_libvirt import Daemons, LocalImages, blank_disk, guest_spec, hypervisor, nic, traces

pytestmark = pytest.mark.libvirt


class Machine:
    """A host with two guests whose agent has ended: one that runs, and one whose build was interrupted early."""

    def __init__(self, tmp_path: Path) -> None:
        self.state_dir = tmp_path / "compute"
        self.log_dir = tmp_path / "log"
        (tmp_path / "run").mkdir()
        self.network = str(uuid4())
        self._images = LocalImages()
        self._image = self._images.add(blank_disk(tmp_path))

    async def fill(self) -> None:
        host = hypervisor(self.state_dir, self._images)
        try:
            await host.build(guest_spec(self._image, nic(self.network)))
            host._instances.save(guest_spec(self._image, nic(str(uuid4()))))
        finally:
            await host.close()

    def traces(self) -> set[str]:
        return traces(self.state_dir, self.network)


@asynchronous
async def test_nothing_is_left_though_libvirt_was_down(tmp_path: Path, libvirtd: Daemons) -> None:
    machine = Machine(tmp_path)
    await machine.fill()
    assert machine.traces()
    if libvirtd.ours:
        libvirtd.stop_libvirtd()
    try:
        await remove_guests(machine.state_dir, EmbeddedLibvirt(tmp_path / "libvirt"), machine.log_dir)
    finally:
        if libvirtd.ours:
            libvirtd.restart_libvirtd()
    assert machine.traces() == set()


@asynchronous
async def test_without_libvirt_it_is_refused_and_all_is_kept(
    tmp_path: Path, libvirtd: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path)
    await machine.fill()
    before = machine.traces()
    embedded = EmbeddedLibvirt(tmp_path / "libvirt")
    broken = Program("libvirtd", ("sh", "-c", "echo no memory >&2; exit 1"), lambda: False)
    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedLibvirt, "programs", lambda _: [broken])
        with pytest.raises(Unavailable, match=r"(?s)libvirt does not start.*no memory.*nothing is erased"):
            await remove_guests(machine.state_dir, embedded, machine.log_dir)
        patch.setattr(module.shutil, "which", lambda _: None)
        with pytest.raises(Unavailable, match="apt-get install"):
            await remove_guests(machine.state_dir, embedded, machine.log_dir)
    assert machine.traces() == before
    await remove_guests(machine.state_dir, embedded, machine.log_dir)
    assert machine.traces() == set()


@asynchronous
async def test_a_network_that_stays_is_a_reason_to_refuse(
    tmp_path: Path, libvirtd: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path)
    await machine.fill()

    async def busy(_networks: Networks) -> None:
        raise HostFailed("The host could not make the guest's network.", "ip link delete: busy")

    with monkeypatch.context() as patch:
        patch.setattr(Networks, "remove_all", busy)
        with pytest.raises(Unavailable, match=r"busy.*nothing is erased"):
            await remove_guests(machine.state_dir, EmbeddedLibvirt(tmp_path / "libvirt"), machine.log_dir)
    await remove_guests(machine.state_dir, EmbeddedLibvirt(tmp_path / "libvirt"), machine.log_dir)
    assert machine.traces() == set()
