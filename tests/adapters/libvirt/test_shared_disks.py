"""Disks that several hosts have in common: who needs them, and who removes them."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.libvirt.instances import Instances
from adapters.libvirt.shared_disks import SharedDisks
from domain.guest import GuestSpec, ImageSource
from tests.real_libvirt import guest_spec

SPEC = replace(guest_spec(None), image=ImageSource(id="one", disk_format="raw", checksum="00"), epoch=1)
ME = SPEC.server_id


class Site:
    """Two hosts that shall have a directory in common."""

    def __init__(self, root: Path) -> None:
        self.shared = root / "shared"
        self.one, self.two = (Instances(root / name, SharedDisks(self.shared, name)) for name in ("node1", "node2"))

    def comes(self, host: Instances, spec: GuestSpec, *, found: bool) -> None:
        """A guest comes to be there, with the disk that it has or with one of its own."""
        host.save(spec)
        host.place(spec, found=found)
        if not host.disk(ME).exists():
            host.disk(ME).write_text(f"of epoch {spec.epoch}")

    def disks(self) -> list[str]:
        return sorted(path.read_text() for path in self.shared.rglob("disk-*.qcow2"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A server on the first host."""
    made = Site(tmp_path)
    made.comes(made.one, SPEC, found=False)
    return made


def at(epoch: int) -> GuestSpec:
    return replace(SPEC, epoch=epoch)


def test_a_disk_goes_with_its_guest(site: Site) -> None:
    site.comes(site.two, at(2), found=True)
    assert site.two.has_found(at(2))
    assert site.one.disk(ME) == site.two.disk(ME)
    site.one.remove(ME)
    assert site.disks() == ["of epoch 1"]
    site.two.remove(ME)
    assert site.disks() == []
    assert list(site.shared.iterdir()) == []


def test_who_gives_up_before_it_came_leaves_it(site: Site) -> None:
    site.comes(site.two, at(2), found=True)
    site.two.remove(ME)
    assert site.disks() == ["of epoch 1"]


def test_a_copy_is_another_disk(site: Site) -> None:
    site.comes(site.two, at(2), found=False)
    assert not site.two.has_found(at(2))
    assert site.disks() == ["of epoch 1", "of epoch 2"]
    site.one.remove(ME)
    assert site.disks() == ["of epoch 2"]


def test_the_newest_assignment_has_the_disk_that_counts(site: Site) -> None:
    site.comes(site.two, at(2), found=False)
    site.two.remove(ME)
    site.one.save(at(3))
    site.comes(site.two, at(4), found=True)
    assert site.two.disk(ME).read_text() == "of epoch 1"


def test_nobody_takes_a_disk_of_a_newer_assignment(site: Site) -> None:
    site.comes(site.two, at(1), found=True)
    assert not site.two.has_found(at(1))


def test_the_end_of_a_server_leaves_nothing_though_its_former_host_is_dead(site: Site) -> None:
    site.comes(site.two, at(2), found=True)
    site.two.end(ME)
    site.two.remove(ME)
    assert site.disks() == []


def test_a_host_that_comes_back_late_ends_nothing_of_another(site: Site) -> None:
    site.comes(site.two, at(2), found=True)
    site.one.end(ME)
    site.one.remove(ME)
    assert site.disks() == ["of epoch 1"]
    assert site.two.disk(ME).exists()


def test_a_rebuild_makes_a_fresh_disk(site: Site) -> None:
    rebuilt = replace(SPEC, generation=1)
    site.one.discard_disks(ME)
    site.comes(site.one, rebuilt, found=False)
    assert [path.name for path in site.shared.rglob("disk-*.qcow2")] == ["disk-1-1.qcow2"]


def test_images_in_common_are_used_by_the_guests_of_all(site: Site) -> None:
    assert site.two.images() == {"one"}


def test_where_nobody_has_had_a_disk_yet(tmp_path: Path) -> None:
    assert Site(tmp_path).one.images() == set()


def test_a_disk_from_before_there_was_a_shared_directory_stays_where_it_is(tmp_path: Path) -> None:
    alone = Instances(tmp_path / "node1")
    alone.save(SPEC)
    alone.disk(ME).write_text("old")
    later = Instances(tmp_path / "node1", SharedDisks(tmp_path / "shared", "node1"))
    later.place(SPEC)
    assert later.disk(ME).read_text() == "old"
    later.remove(ME)
    assert not later.directory(ME).exists()
