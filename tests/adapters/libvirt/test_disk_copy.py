"""A stopped guest's disk comes to another host as it is, and to nobody else."""

import asyncio
import json
import secrets
import struct
import subprocess
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from msgspec.structs import replace

from adapters.libvirt import moving
from adapters.libvirt.disk_copy import (
    NOT_SMALLER,
    DiskOffer,
    fetch,
    grow,
    offered,
    virtual_size,
)
from adapters.libvirt.disks import BaseImage
from adapters.libvirt.moving import DiskOffers
from domain.errors import HostFailed
from domain.guest import PowerState
from handlers import messages
from tests.aio import asynchronous
from tests.real_libvirt import LocalImages, blank_disk, guest_spec, hypervisor, nic

pytestmark = pytest.mark.libvirt
MIB = 1024**2


def qemu(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def content(disk: Path) -> bytes:
    """What the guest sees of the first 64 MiB, as far as it was written."""
    return qemu("qemu-io", "-r", "-f", "qcow2", "-c", "read -v 0 64", "-c", "read -v 8M 64", str(disk)).encode()


def write(disk: Path, at: str, byte: int) -> None:
    qemu("qemu-io", "-f", "qcow2", "-c", f"write -P {byte} {at} 1M", str(disk))


class Sites:
    """Two hosts' directories, each with the same image in a place of its own, and a guest's disk on the first."""

    def __init__(self, directory: Path) -> None:
        self.bases = []
        for name in ("one", "two"):
            (directory / name).mkdir()
            self.bases.append(BaseImage(directory / name / "image", "qcow2", 64 * MIB))
            qemu("qemu-img", "create", "-q", "-f", "qcow2", self.bases[-1].path, "64M")
            write(self.bases[-1].path, "0", 7)
        self.disk, self.copy = directory / "one" / "disk.qcow2", directory / "two" / "disk.qcow2"
        over = ("-F", "qcow2", "-b", self.bases[0].path)
        qemu("qemu-img", "create", "-q", "-f", "qcow2", *over, self.disk, "10G")
        write(self.disk, "8M", 9)

    async def copied(self, offer: DiskOffer) -> list[int]:
        told: list[int] = []
        await fetch(offer, self.copy, self.bases[1], told.append)
        return told


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return Sites(tmp_path)


@asynchronous
async def test_what_the_guest_has_written_over_the_other_hosts_image(sites: Sites) -> None:
    async with offered(sites.disk, "127.0.0.1") as offer:
        told = await sites.copied(offer)
        # It is there, and left alone.
        assert await sites.copied(offer) == []
    assert told[-1] == 100
    assert told == sorted(told)
    info = json.loads(qemu("qemu-img", "info", "--output=json", sites.copy))
    assert info["full-backing-filename"] == str(sites.bases[1].path)
    assert info["virtual-size"] == 10 * 1024 * MIB
    assert sites.copy.stat().st_blocks <= sites.disk.stat().st_blocks + 64
    sites.bases[0].path.unlink()
    seen = content(sites.copy)
    assert b"07 07 07" in seen
    assert b"09 09 09" in seen
    assert sorted(path.name for path in sites.copy.parent.iterdir()) == ["disk.qcow2", "image"]
    assert (sites.copy.stat().st_mode & 0o777) == 0o600


@asynchronous
async def test_an_offer_is_good_for_its_key_and_its_time(sites: Sites) -> None:
    async with offered(sites.disk, "127.0.0.1") as offer:
        with pytest.raises(HostFailed, match="could not be copied"):
            await sites.copied(offer._replace(key=secrets.token_hex(32)))
        url = f"nbd://127.0.0.1:{offer.port}/disk"
        done = subprocess.run(["qemu-img", "info", url], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "TLS" in done.stderr
        # A stranger has not used it up.
        assert await sites.copied(offer)
    sites.copy.unlink()
    with pytest.raises(HostFailed) as refused:
        await sites.copied(offer)
    assert "refused" in refused.value.details
    assert not sites.copy.exists()
    with pytest.raises(HostFailed, match="could not offer"):
        async with offered(sites.copy, "127.0.0.1"):
            pass


@asynchronous
async def test_a_copy_that_is_given_up_leaves_nothing(sites: Sites) -> None:
    called = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    silent = DiskOffer("127.0.0.1", listener.sockets[0].getsockname()[1], secrets.token_hex(32))
    copying = asyncio.create_task(sites.copied(silent))
    await called.wait()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    listener.close()
    assert [path.name for path in sites.copy.parent.iterdir()] == ["image"]


@asynchronous
async def test_a_disk_that_would_have_other_files_opened(sites: Sites) -> None:
    """Another host is not believed: its disk names a file of this host."""
    secret = sites.disk.parent / "secret"
    secret.write_bytes(b"secret" * 1000)
    evil = sites.disk.parent / "evil.qcow2"
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, evil, "1M")
    async with offered(evil, "127.0.0.1") as offer:
        await sites.copied(offer)
    assert json.loads(qemu("qemu-img", "info", "--output=json", sites.copy))["backing-filename"] == str(
        sites.bases[1].path
    )
    sites.copy.unlink()
    raw = bytearray(evil.read_bytes())
    struct.pack_into(">Q", raw, 72, 1 << 2)
    for wrong, said in ((bytes(raw), "another file"), (secret.read_bytes(), "no qcow2"), (b"QFI", "no qcow2")):
        evil.write_bytes(wrong)
        async with offered(evil, "127.0.0.1") as offer:
            with pytest.raises(HostFailed) as refused:
                await sites.copied(offer)
        assert said in refused.value.details
        assert not sites.copy.exists()


@asynchronous
async def test_one_without_an_image_beneath(sites: Sites) -> None:
    qemu("qemu-img", "create", "-q", "-f", "qcow2", sites.disk.with_name("alone.qcow2"), "1M")
    async with offered(sites.disk.with_name("alone.qcow2"), "127.0.0.1") as offer:
        await fetch(offer, sites.copy, None, lambda _: None)
    assert "backing-filename" not in json.loads(qemu("qemu-img", "info", "--output=json", sites.copy))


@asynchronous
async def test_one_that_says_that_nothing_is_beneath_gets_nothing_beneath(sites: Sites) -> None:
    """It is not what its server's image says, but what another image had."""
    alone = sites.disk.with_name("alone.qcow2")
    qemu("qemu-img", "create", "-q", "-f", "qcow2", alone, "64M")
    write(alone, "8M", 9)
    async with offered(alone, "127.0.0.1") as offer:
        await sites.copied(offer)
    assert "backing-filename" not in json.loads(qemu("qemu-img", "info", "--output=json", sites.copy))
    qemu("qemu-img", "compare", sites.copy, alone)


@asynchronous
async def test_a_disk_grows_and_never_shrinks(sites: Sites) -> None:
    await grow(sites.disk, 12 * 1024 * MIB)
    await grow(sites.disk, 12 * 1024 * MIB)
    assert await virtual_size(sites.disk) == 12 * 1024 * MIB
    with pytest.raises(HostFailed, match=NOT_SMALLER):
        await grow(sites.disk, 10 * 1024 * MIB)
    with pytest.raises(HostFailed):
        await grow(sites.copy, MIB)


@asynchronous
async def test_to_ask_again_for_the_same_assignment_disturbs_nobody(sites: Sites) -> None:
    """A command without outcome is sent again after a minute, and a large disk takes longer."""
    offers = DiskOffers("127.0.0.1")
    try:
        (first,) = await offers.of("server", 2, [sites.disk])
        assert await offers.of("server", 2, [sites.disk]) == [first]
        # Who fetched it may have lost its power, and has said no farewell.
        _, silent = await asyncio.open_connection(first.host, first.port)
        assert await sites.copied(first)
        silent.close()
        others = set(psutil.Process().children())
        (other,) = await offers.of("server", 3, [sites.disk])
        assert other.key != first.key
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection(first.host, first.port)
        # Not by its name: it is qemu-nbd's only once what starts it has become it.
        (serving,) = set(psutil.Process().children()) - others
        serving.kill()
        psutil.wait_procs([serving])
        assert await offers.of("server", 3, [sites.disk]) != [other]
    finally:
        await offers.close()


@pytest.mark.usefixtures("libvirtd")
@asynchronous
async def test_what_is_removed_is_offered_no_longer(tmp_path: Path) -> None:
    images = LocalImages()
    spec = guest_spec(images.add(blank_disk(tmp_path)), nic(str(uuid4())))
    host = hypervisor(tmp_path / "state", images)
    await host.build(spec)
    await host.give(spec.server_id, 0)
    offer = await host.offer(spec.server_id, 2)
    await host.destroy(spec.server_id)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection(offer.host, offer.port)


@pytest.mark.usefixtures("libvirtd")
@asynchronous
async def test_a_source_that_falls_silent_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "COPY_SECONDS", 0.0)
    images = LocalImages()
    spec = guest_spec(images.add(blank_disk(tmp_path)), nic(str(uuid4())))
    host = hypervisor(tmp_path / "state", images)
    silent = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    async with silent:
        offer = messages.DiskOffer(host="127.0.0.1", port=silent.sockets[0].getsockname()[1], key="00" * 32)
        with pytest.raises(HostFailed) as failure:
            await host.receive(spec, messages.Peer(host="other", offer=offer))
    assert failure.value.details == "it took too long"
    assert not (tmp_path / "state" / "instances" / spec.server_id).exists()


def written(disk: Path, *words: str) -> str:
    """What qemu-io says of a disk's second MiB after doing something with it."""
    done = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", " ".join([*words, "1M 4k"]), disk], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("libvirtd")
@asynchronous
async def test_the_second_disk_goes_along_and_swap_is_made_anew(tmp_path: Path) -> None:
    images = LocalImages()
    spec = guest_spec(images.add(blank_disk(tmp_path)), ephemeral_gb=1, swap_mb=16)
    source, target = hypervisor(tmp_path / "one", images), hypervisor(tmp_path / "two", images)
    here, there = (tmp_path / name / "instances" / spec.server_id for name in ("one", "two"))
    try:
        await source.build(spec)
        shown = subprocess.run(
            ["qemu-img", "info", "-U", here / "swap.qcow2"], capture_output=True, text=True, check=True
        )
        assert "16 MiB" in shown.stdout
        await source.give(spec.server_id, 0)
        written(here / "ephemeral.qcow2", "write -P 7")
        offer = await source.offer(spec.server_id, 2)
        larger = replace(spec, epoch=2, ephemeral_gb=2)
        await target.receive(larger, messages.Peer(host="other", offer=offer))
        await target.stop(spec.server_id, 0)
        assert "pattern" not in written(there / "ephemeral.qcow2", "read -P 7").lower()
        assert await virtual_size(there / "ephemeral.qcow2") == 2 * 1024**3
        assert (there / "swap.qcow2").exists()
        assert await virtual_size(here / "ephemeral.qcow2") == 1024**3
        # Within one host, and back.
        await target.give(spec.server_id, 0)
        await target.receive(replace(larger, epoch=3), messages.Peer(host="node1"))
        await target.stop(spec.server_id, 0)
        assert "pattern" not in written(there / "ephemeral.qcow2", "read -P 7").lower()
        await target.discard(spec.server_id, 3)
        assert "pattern" not in written(there / "ephemeral.qcow2", "read -P 7").lower()
    finally:
        for host in (source, target):
            await host.destroy(spec.server_id)
            await host.close()


@pytest.mark.usefixtures("libvirtd")
@asynchronous
async def test_a_disk_from_before_a_rebuild_that_failed_is_put_over_no_other_image(tmp_path: Path) -> None:
    images = LocalImages()
    spec = guest_spec(images.add(blank_disk(tmp_path)))
    rebuilt = replace(spec, epoch=2, image=images.add(blank_disk(tmp_path)))
    source, target = hypervisor(tmp_path / "one", images), hypervisor(tmp_path / "two", images)
    try:
        await source.build(spec)
        await source.give(spec.server_id, 0)
        offer = await source.offer(spec.server_id, 2)
        for host, peer in ((target, messages.Peer(host="other", offer=offer)), (source, messages.Peer(host="node1"))):
            with pytest.raises(HostFailed, match="before its last rebuild"):
                await host.receive(rebuilt, peer)
        assert not (tmp_path / "two" / "instances" / spec.server_id).exists()
        assert (await source.adopt(replace(spec, epoch=3))).power_state is PowerState.RUNNING
    finally:
        for host in (source, target):
            await host.destroy(spec.server_id)
            await host.close()
