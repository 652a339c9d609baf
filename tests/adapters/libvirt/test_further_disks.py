"""The disks that a flavor has beside the root disk."""

import subprocess
from pathlib import Path

import pytest

from adapters.libvirt.further_disks import ensure_ephemeral, ensure_swap
from domain.errors import HostFailed
from domain.guest import GuestSpec, ImageSource
from tests.aio import asynchronous
from tests.real_libvirt import guest_spec


def spec(os_type: str = "linux") -> GuestSpec:
    image = ImageSource(id="i", disk_format="raw", checksum="00", properties={"os_type": os_type})
    return guest_spec(image, ephemeral_gb=1, swap_mb=16)


def content(disk: Path) -> bytes:
    raw = disk.with_name("seen.raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
    with raw.open("rb") as file:
        return file.read(8192)


@asynchronous
async def test_an_ephemeral_disk_has_a_file_system_of_nova_s_label(tmp_path: Path) -> None:
    disk = tmp_path / "ephemeral.qcow2"
    await ensure_ephemeral(disk, spec())
    assert content(disk)[1024 + 56 : 1024 + 58] == b"\x53\xef"  # ext4's magic number
    assert content(disk)[1024 + 120 : 1024 + 136].rstrip(b"\0") == b"ephemeral0"
    assert disk.stat().st_size < 20 * 1024**2


@asynchronous
async def test_windows_finds_an_empty_one(tmp_path: Path) -> None:
    disk = tmp_path / "ephemeral.qcow2"
    await ensure_ephemeral(disk, spec("windows"))
    assert content(disk) == bytes(8192)


@asynchronous
async def test_swap_is_ready_to_be_used(tmp_path: Path) -> None:
    disk = tmp_path / "swap.qcow2"
    await ensure_swap(disk, spec())
    assert content(disk)[4086:4096] == b"SWAPSPACE2"


@asynchronous
async def test_what_is_there_stays(tmp_path: Path) -> None:
    disk = tmp_path / "ephemeral.qcow2"
    disk.write_text("a guest's")
    await ensure_ephemeral(disk, spec())
    assert disk.read_text() == "a guest's"


@asynchronous
async def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostFailed):
        await ensure_swap(tmp_path / "swap.qcow2", spec())
    assert list(tmp_path.iterdir()) == []
