"""Images: only what was promised gets in, and stays as it was."""

import asyncio
import errno
import json
import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from adapters.libvirt import hypervisor as hypervisor_module
from adapters.libvirt.disks import GIB, BaseImage, disk_size, ensure_disk
from adapters.libvirt.images import ImageCache, _check_qcow2_header
from domain.errors import HostFailed, Unavailable
from domain.guest import ImageSource
from tests.aio import asynchronous
from tests.real_libvirt import LocalImages, blank_disk, guest_spec, hypervisor

MAX_BYTES = 20_000_000


class Shelf:
    """A cache, and the images that could be in it."""

    def __init__(self, directory: Path) -> None:
        self.source = directory / "source"
        self.source.mkdir()
        self.dir = directory / "cache"
        self.images = LocalImages()
        self.used: set[str] = set()
        self.cache = ImageCache(self.dir, self.images, used=lambda: self.used, max_bytes=MAX_BYTES)

    def qcow2(self, *options: str) -> Path:
        path = self.source / "image.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "16M"], check=True)
        return path

    def raw(self, size: int) -> ImageSource:
        """An image of so many bytes."""
        path = self.source / str(len(self.images.files))
        path.write_bytes(os.urandom(size))
        return self.images.add(path, "raw")

    def age(self) -> None:
        """Nothing was used lately."""
        for number, mark in enumerate(sorted(self.dir.glob("*.seal"), key=lambda mark: mark.stat().st_mtime_ns)):
            os.utime(mark, (number, number))

    def files(self) -> set[str]:
        return {path.name for path in self.dir.iterdir()}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@asynchronous
async def test_downloaded_once_and_read_only(shelf: Shelf) -> None:
    image = shelf.images.add(shelf.qcow2())
    bases = await asyncio.gather(*(shelf.cache.ensure(image) for _ in range(5)))
    assert set(bases) == {BaseImage(shelf.dir / image.id, "qcow2", 16 * 1024**2)}
    assert shelf.images.downloads == [image.id]
    assert bases[0].path.stat().st_mode & 0o777 == 0o444
    await ImageCache(shelf.dir, shelf.images).ensure(image)
    assert shelf.images.downloads == [image.id]
    assert shelf.files() == {image.id, f"{image.id}.seal"}


@asynchronous
async def test_a_damaged_file_is_replaced(shelf: Shelf) -> None:
    image = shelf.images.add(shelf.qcow2())
    base = await shelf.cache.ensure(image)
    good = base.path.read_bytes()
    for damage in (good[:-1], good[:-1] + b"!", b""):
        base.path.chmod(0o600)
        base.path.write_bytes(damage)
        await shelf.cache.ensure(image)
        assert base.path.read_bytes() == good
    base.path.unlink()
    await shelf.cache.ensure(image)
    assert len(shelf.images.downloads) == 5


@asynchronous
async def test_a_file_that_was_only_touched_is_verified_not_downloaded(shelf: Shelf) -> None:
    image = shelf.images.add(shelf.qcow2())
    base = await shelf.cache.ensure(image)
    os.utime(base.path, (1, 1))
    await shelf.cache.ensure(image)
    assert len(shelf.images.downloads) == 1


@asynchronous
async def test_what_is_not_what_its_record_says(shelf: Shelf) -> None:
    image = shelf.images.add(shelf.qcow2())
    replace = msgspec.structs.replace
    for wrong, message in (
        (replace(image, checksum="0" * 128), "checksum"),
        (replace(image, size=image.size + 1), f"{image.size} bytes"),
        (replace(image, checksum_algorithm="md5"), "unknown kind"),
        (replace(image, disk_format="vmdk"), "vmdk"),
        (replace(image, id="../../etc/passwd"), "not valid"),
        (replace(image, id="missing"), "could not be found"),
    ):
        with pytest.raises(HostFailed, match=message):
            await shelf.cache.ensure(wrong)
        assert not shelf.dir.exists() or shelf.files() == set()


@asynchronous
async def test_an_image_that_reads_files_of_the_host(shelf: Shelf) -> None:
    secret = shelf.source / "secret"
    secret.write_bytes(b"root" * 1024 * 1024)
    backed = shelf.qcow2("-b", str(secret), "-F", "raw")
    outside = shelf.source / "outside.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o"]
    subprocess.run([*create, f"data_file={shelf.source / 'data'},data_file_raw=on", outside, "16M"], check=True)
    # That it is there would show that somebody looked.
    (shelf.source / "data").unlink()
    nonsense = shelf.source / "nonsense"
    nonsense.write_bytes(b"QFI\xfb" + bytes(1000))
    for path in (backed, outside):
        with pytest.raises(HostFailed, match="refers to another file"):
            await shelf.cache.ensure(shelf.images.add(path))
        # Already before QEMU, which in some versions would open that file, has a look.
        with pytest.raises(HostFailed, match="refers to another file"):
            _check_qcow2_header(path, "image")
    for path in (nonsense, secret):
        with pytest.raises(HostFailed, match="not a valid qcow2"):
            await shelf.cache.ensure(shelf.images.add(path))
    assert shelf.files() == set()
    # Declared raw, it is only bytes, whatever header it carries, also for the guest's disk.
    base = await shelf.cache.ensure(shelf.images.add(backed, "raw"))
    disk = shelf.source / "disk.qcow2"
    await ensure_disk(disk, base, GIB)
    seen = subprocess.run(
        ["qemu-img", "info", "--backing-chain", "--output=json", disk], capture_output=True, check=True
    )
    assert [layer["format"] for layer in json.loads(seen.stdout)] == ["qcow2", "raw"]


@asynchronous
async def test_no_space(shelf: Shelf) -> None:
    class FullDisk:
        async def download(self, image_id: str, target: Path) -> None:
            target.write_bytes(b"some")
            raise OSError(errno.ENOSPC, "No space left on device", str(target))

    image = shelf.images.add(shelf.qcow2())
    with pytest.raises(HostFailed) as failure:
        await ImageCache(shelf.dir, FullDisk()).ensure(image)
    assert failure.value.message == "There is no space left on the host's disk."
    assert str(shelf.dir) in failure.value.details
    assert shelf.files() == set()


@asynchronous
async def test_no_guest_is_built_on_the_reserve_of_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypervisor_module, "spare", lambda _: 0)
    images = LocalImages()
    host = hypervisor(tmp_path, images)
    with pytest.raises(HostFailed, match="no space left on the host's disk"):
        await host._make(guest_spec(images.add(blank_disk(tmp_path))))
    assert images.downloads == []
    assert not (tmp_path / "instances").exists()
    await host.close()


@asynchronous
async def test_interrupted_downloads(shelf: Shelf) -> None:
    image = shelf.images.add(shelf.qcow2())
    begun = asyncio.Event()

    class Slow:
        async def download(self, image_id: str, target: Path) -> None:
            begun.set()
            await asyncio.Event().wait()

    class Down:
        async def download(self, image_id: str, target: Path) -> None:
            raise Unavailable("The image service does not answer.")

    task = asyncio.create_task(ImageCache(shelf.dir, Slow()).ensure(image))
    await begun.wait()
    assert len(shelf.files()) == 1
    task.cancel()
    await asyncio.wait([task])
    assert shelf.files() == set()
    with pytest.raises(Unavailable):
        await ImageCache(shelf.dir, Down()).ensure(image)
    (shelf.dir / ".part-of-a-killed-agent").touch()
    await shelf.cache.ensure(image)
    shelf.cache.sweep()
    assert shelf.files() == {image.id, f"{image.id}.seal"}


@asynchronous
async def test_unused_images_make_room(shelf: Shelf) -> None:
    used, old, recent = (shelf.images.add(shelf.qcow2()) for _ in range(3))
    for image in (used, old, recent):
        await shelf.cache.ensure(image)
    for image in (used, old):
        os.utime(shelf.dir / f"{image.id}.seal", (1, 1))
    assert shelf.cache.evict({used.id}, 3600) == [old.id]
    assert shelf.files() == {name for image in (used, recent) for name in (image.id, f"{image.id}.seal")}


@pytest.mark.parametrize(
    ("virtual_size", "disk_gb", "min_disk_gb", "expected"),
    [
        (40 * 1024**2, 0, 0, 40 * 1024**2),
        (40 * 1024**2, 1, 0, GIB),
        (GIB, 1, 0, GIB),
        (GIB + 1, 1, 0, "too small: the image needs 2 GB"),
        (GIB, 1, 5, "too small: the image needs 5 GB"),
        (GIB, 5, 5, 5 * GIB),
    ],
)
def test_the_size_of_the_disk(virtual_size: int, disk_gb: int, min_disk_gb: int, expected: int | str) -> None:
    base = BaseImage(Path("/image"), "qcow2", virtual_size)
    if isinstance(expected, int):
        assert disk_size(base, disk_gb, min_disk_gb) == expected
    else:
        with pytest.raises(HostFailed, match=expected):
            disk_size(base, disk_gb, min_disk_gb)


@asynchronous
async def test_a_disk_with_data_is_left_alone(tmp_path: Path) -> None:
    base = BaseImage(blank_disk(tmp_path), "qcow2", 16 * 1024**2)
    disk = tmp_path / "disk.qcow2"
    await ensure_disk(disk, base, GIB)
    subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", disk], check=True, capture_output=True)
    before = disk.read_bytes()
    await ensure_disk(disk, base, 2 * GIB)
    assert disk.read_bytes() == before
    with pytest.raises(HostFailed, match="could not make the guest's disk") as failure:
        await ensure_disk(tmp_path / "absent" / "disk.qcow2", base, GIB)
    assert "absent" in failure.value.details


@asynchronous
async def test_the_cache_takes_no_more_than_it_may(shelf: Shelf) -> None:
    oldest, used, younger = [shelf.raw(MAX_BYTES * 3 // 10) for _ in range(3)]
    for image in (oldest, used, younger):
        await shelf.cache.ensure(image)
    another = shelf.raw(MAX_BYTES // 5)
    with pytest.raises(HostFailed, match="no room"):
        # Any of them may be about to become a guest's disk.
        await shelf.cache.ensure(another)
    shelf.age()
    shelf.used = {oldest.id, used.id}
    await shelf.cache.ensure(another)
    assert {name.removesuffix(".seal") for name in shelf.files()} == {oldest.id, used.id, another.id}
    shelf.age()
    shelf.used |= {another.id}
    with pytest.raises(HostFailed, match="no room"):
        await shelf.cache.ensure(younger)
    shelf.used = set()
    await shelf.cache.ensure(younger)
    assert shelf.files() & {oldest.id, used.id, another.id, younger.id} == {used.id, another.id, younger.id}


@asynchronous
async def test_images_that_come_at_once_share_the_room(shelf: Shelf) -> None:
    images = [shelf.raw(MAX_BYTES * 2 // 5) for _ in range(4)]
    done = await asyncio.gather(*(shelf.cache.ensure(image) for image in images), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in done) == ["BaseImage"] * 2 + ["HostFailed"] * 2
    assert sum(path.stat().st_size for path in shelf.dir.glob("*") if not path.suffix) <= MAX_BYTES


@asynchronous
async def test_what_is_kept_free_of_the_disk_stays_free(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    image = shelf.raw(1000)
    monkeypatch.setattr("adapters.libvirt.images.spare", lambda _: 999)
    with pytest.raises(HostFailed, match="no room"):
        await shelf.cache.ensure(image)
    assert shelf.files() == set()
    monkeypatch.setattr("adapters.libvirt.images.spare", lambda _: 1000)
    await shelf.cache.ensure(image)


def test_who_shares_a_directory_leaves_the_downloads_of_others(shelf: Shelf) -> None:
    shelf.dir.mkdir(exist_ok=True)
    for name in (".part-node1-a", ".part-node2-a"):
        (shelf.dir / name).touch()
    ImageCache(shelf.dir, shelf.images, host="node2").sweep()
    assert shelf.files() == {".part-node1-a"}
