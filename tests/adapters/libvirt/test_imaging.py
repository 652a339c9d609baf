"""Images of real guests: what is in them, and what interrupts their making."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from adapters.libvirt.hypervisor import LibvirtHypervisor
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed
from domain.guest import GuestSpec
from tests.aio import asynchronous
from tests.own_hosts import OwnHost
from tests.real_libvirt import LocalImages, blank_disk, guest_spec

pytestmark = pytest.mark.libvirt
MIB = 1 << 20


def host(own: OwnHost, images: LocalImages) -> LibvirtHypervisor:
    return LibvirtHypervisor(
        LibvirtSettings(host_name="node1", state_dir=own.host.directory / "state", uri=own.uri), images
    )


def written(directory: Path, images: LocalImages, size: int = 4 * MIB) -> GuestSpec:
    """A guest of an image that holds something."""
    disk = blank_disk(directory, "64M")
    words = ("-c", f"write -P 0xa5 1M {size}", "-c", f"write -P 0x5a 40M {MIB}")
    subprocess.run(["qemu-io", "-f", "qcow2", *words, disk], check=True, capture_output=True)
    return guest_spec(images.add(disk))


def info(path: Path) -> dict[str, Any]:
    done = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def holds(path: Path, *patterns: str) -> bool:
    """Whether the disk has these bytes where they are said to be."""
    words = [word for pattern in patterns for word in ("-c", f"read -P {pattern}")]
    done = subprocess.run(["qemu-io", "-r", "-f", "qcow2", *words, path], capture_output=True, text=True, check=True)
    return "verification failed" not in done.stdout


@asynchronous
async def test_it_stands_alone_holds_all_and_nothing_that_is_empty(own_libvirt: OwnHost, tmp_path: Path) -> None:
    images = LocalImages()
    hypervisor = host(own_libvirt, images)
    spec = written(tmp_path, images)
    await hypervisor.build(spec)
    try:
        for power in ("running", "off"):
            if power == "off":
                await hypervisor.stop(spec.server_id, 0)
            image_id = str(uuid4())
            await hypervisor.snapshot(spec.server_id, image_id)
            await hypervisor.upload(spec.server_id, image_id)
            made = tmp_path / f"{power}.qcow2"
            made.write_bytes(images.sent[image_id])
            found = info(made)
            assert "backing-filename" not in found
            assert (found["format"], found["virtual-size"]) == ("qcow2", 1 << 30)
            assert made.stat().st_size < 8 * MIB
            assert holds(made, "0xa5 1M 4M", f"0x5a 40M {MIB}", "0 8M 8M", "0 512M 1M")
    finally:
        await hypervisor.destroy(spec.server_id)
        await hypervisor.close()


@asynchronous
async def test_an_agent_that_died_in_the_middle_leaves_a_job_that_the_next_one_ends(
    own_libvirt: OwnHost, tmp_path: Path
) -> None:
    images = LocalImages()
    hypervisor = host(own_libvirt, images)
    spec = written(tmp_path, images, 32 * MIB)
    await hypervisor.build(spec)
    try:
        directory = own_libvirt.host.directory / "state" / "instances" / spec.server_id
        left = directory / f"image-{uuid4()}.part"
        job = (
            '<domainbackup mode="push"><disks><disk name="vda" backup="yes" type="file">'
            f'<target file="{left}"/><driver type="qcow2"/></disk></disks></domainbackup>'
        )
        (tmp_path / "job.xml").write_text(job)
        own_libvirt.virsh("backup-begin", spec.instance_name, str(tmp_path / "job.xml"))
        successor, image_id = host(own_libvirt, images), str(uuid4())
        await successor.snapshot(spec.server_id, image_id)
        assert sorted(path.name for path in directory.glob("image-*")) == [f"image-{image_id}.qcow2"]
        await successor.upload(spec.server_id, image_id)
        assert [path.name for path in directory.glob("image-*")] == [f"image-{image_id}.sent"]
        await successor.close()
    finally:
        await hypervisor.destroy(spec.server_id)
        await hypervisor.close()


@asynchronous
async def test_a_guest_that_ends_meanwhile_has_its_image_all_the_same(own_libvirt: OwnHost, tmp_path: Path) -> None:
    images = LocalImages()
    hypervisor = host(own_libvirt, images)
    spec = written(tmp_path, images, 32 * MIB)
    await hypervisor.build(spec)
    try:
        image_id = str(uuid4())
        making = asyncio.create_task(hypervisor.snapshot(spec.server_id, image_id))
        own_libvirt.virsh("destroy", spec.instance_name)
        await making
        await hypervisor.upload(spec.server_id, image_id)
        made = tmp_path / "made.qcow2"
        made.write_bytes(images.sent[image_id])
        assert holds(made, f"0xa5 1M {32 * MIB}", f"0x5a 40M {MIB}")
    finally:
        await hypervisor.destroy(spec.server_id)
        await hypervisor.close()


@asynchronous
async def test_an_id_that_is_no_uuid_is_no_path(own_libvirt: OwnHost, tmp_path: Path) -> None:
    images = LocalImages()
    hypervisor = host(own_libvirt, images)
    spec = written(tmp_path, images)
    await hypervisor.build(spec)
    try:
        with pytest.raises(HostFailed):
            await hypervisor.snapshot(spec.server_id, "../../etc/passwd")
    finally:
        await hypervisor.destroy(spec.server_id)
        await hypervisor.close()
