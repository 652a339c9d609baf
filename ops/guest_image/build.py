"""The build, once for the same inputs."""

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.guest_image.disk import write_disk
from ops.guest_image.initramfs import BUSYBOX, SCRIPTS, build_initramfs
from ops.guest_image.kernel import fetch_packages, unpack
from ops.guest_image.tools import BuildError, require_tools, run

__all__ = ["BuildError", "TinyImage", "build_tiny", "tiny_image"]

SIZE_LIMIT = 40_000_000
"""Bytes: what everybody downloads should stay small."""


@dataclass(frozen=True)
class TinyImage:
    """The finished parts, in one directory."""

    directory: Path

    @property
    def disk(self) -> Path:
        """A qcow2 that boots by itself (BIOS)."""
        return self.directory / "tiny.qcow2"

    @property
    def kernel(self) -> Path:
        """The kernel, for a direct boot."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The root file system, for a direct boot."""
        return self.directory / "initrd.img"


def build_tiny(cache: Path) -> Path:
    """The path of an up-to-date ``tiny.qcow2`` under ``cache``; see ``tiny_image``."""
    return tiny_image(cache).disk


def tiny_image(cache: Path) -> TinyImage:
    """Build the tiny guest under ``cache``, or return the one that is there if its inputs have not changed.

    Several builders may run at once: one builds, the others wait for it. Needs about ten seconds, apt's
    package lists and, the first time, the distribution's archive. Raises BuildError.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with alone(cache / ".lock"):
            require_tools()
            packages = fetch_packages(cache / "kernel")
            target = cache / f"tiny-{_digest(packages)}"
            if not target.is_dir():
                _build(packages, target)
            _forget_others(cache, target)
            return TinyImage(target)
    except OSError as error:
        raise BuildError(f"{error.strerror or error}: {error.filename or cache}") from error


def _build(packages: list[Path], target: Path) -> None:
    """Build beside the target, and put it there whole."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
        work = Path(scratch)
        image = TinyImage(work / "image")
        image.directory.mkdir()
        kernel = unpack(packages, work / "kernel")
        shutil.copyfile(kernel.image, image.kernel)
        plain = work / "initrd.cpio"
        plain.write_bytes(build_initramfs(kernel.modules()))
        run("compress root file system", "zstd", "-q", "-19", "-f", plain, "-o", image.initrd)
        raw = work / "tiny.raw"
        write_disk(raw, image.kernel, image.initrd)
        compressed = ("-c", "-o", "compression_type=zstd")
        run("write image", "qemu-img", "convert", "-q", "-O", "qcow2", *compressed, raw, image.disk)
        if image.disk.stat().st_size > SIZE_LIMIT:
            raise BuildError(f"write image: it is larger than {SIZE_LIMIT} bytes")
        image.directory.rename(target)


def _digest(packages: list[Path]) -> str:
    """Names all that goes into the image: the packages, busybox, the guest's scripts and this builder."""
    digest = hashlib.sha256()
    sources = sorted(Path(__file__).parent.glob("*.py"))
    scripts = sorted(path for path in SCRIPTS.rglob("*") if path.is_file())
    for path in (*packages, BUSYBOX, *sources, *scripts):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _forget_others(cache: Path, current: Path) -> None:
    """Remove images of earlier inputs, and what a killed build left."""
    for path in (*cache.glob("tiny-*"), *cache.glob(".build-*")):
        if path != current:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the cache's lock; the kernel lets go of it should we die."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
