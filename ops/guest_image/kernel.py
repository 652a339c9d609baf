"""The guest's kernel: a distribution package, downloaded and only unpacked."""

import lzma
import re
from dataclasses import dataclass
from pathlib import Path

from ops.guest_image.tools import BuildError, run

KERNELS = ("linux-image-cloud-amd64", "linux-image-virtual", "linux-image-amd64")
"""Meta packages, the first known one is taken: Debian's kernel for clouds, Ubuntu's, Debian's for any machine."""

MODULES = (
    *("virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "button", "evdev"),
    *("nls_cp437", "nls_ascii", "vfat", "isofs", "virtio_balloon", "virtio_console", "virtio_rng", "virtio_input"),
)
"""What the guest loads, unless the kernel has it built in. Each brings what it depends on."""

REQUIRED = ("virtio_pci", "virtio_net", "virtio_blk")


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""

    root: Path

    @property
    def image(self) -> Path:
        """The kernel itself, as a boot loader wants it."""
        found = sorted(self.root.glob("boot/vmlinuz-*"))
        if len(found) != 1:
            raise BuildError("unpack kernel: the package holds no single boot/vmlinuz-*")
        return found[0]

    def modules(self) -> dict[str, bytes]:
        """File name and content of every wanted module, dependencies first."""
        files = {_plain(path): path for path in self.root.glob("**/lib/modules/**/*.ko*")}
        builtin = {
            Path(line).stem.replace("-", "_")
            for listing in self.root.glob("**/lib/modules/*/modules.builtin")
            for line in listing.read_text().splitlines()
        }
        loaded: dict[str, bytes] = {}

        def add(name: str) -> None:
            if name in builtin or f"{name}.ko" in loaded:
                return
            if name not in files:
                raise BuildError(f"unpack kernel: module {name} is neither built in nor in the package")
            content = _read_module(files[name])
            for dependency in _depends(content):
                add(dependency)
            loaded[f"{name}.ko"] = content

        for wanted in MODULES:
            # Kernels differ in what they offer; only the disk and the network are a must.
            if wanted in files or wanted in builtin or wanted in REQUIRED:
                add(wanted)
        return loaded


def fetch_packages(directory: Path) -> list[Path]:
    """The kernel packages kept in ``directory``, downloaded the first time.

    A newer kernel in the archive is no reason to build anew: remove the directory to get it.
    """
    kept = sorted(directory.glob("*.deb"))
    if kept:
        return kept
    fresh = directory.with_name(f"{directory.name}.new")
    fresh.mkdir(parents=True, exist_ok=True)
    for stale in fresh.iterdir():
        stale.unlink()
    # apt otherwise downloads as the user _apt, who may not be allowed to write here.
    run("download kernel", "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *_choose(), cwd=fresh)
    fresh.rename(directory)
    return sorted(directory.glob("*.deb"))


def unpack(packages: list[Path], target: Path) -> Kernel:
    """Unpack without installing."""
    for package in packages:
        run("unpack kernel", "dpkg", "-x", package, target)
    return Kernel(target)


def _choose() -> list[str]:
    """The versioned packages behind the first meta package that this machine's apt knows."""
    for meta in KERNELS:
        try:
            depends = run("find kernel", "apt-cache", "depends", "--important", meta)
        except BuildError:
            continue
        versioned = re.findall(r"Depends: (linux-(?:image|modules)-\d\S+)", depends)
        images = [name for name in versioned if name.startswith("linux-image-")]
        if images:
            # Ubuntu keeps the modules in a package beside the image, named alike.
            modules = [f"linux-modules-{images[0].removeprefix('linux-image-')}"]
            return images[:1] + (modules if _known(modules[0]) else [])
    raise BuildError(f"find kernel: apt knows none of {', '.join(KERNELS)}; run apt-get update")


def _known(package: str) -> bool:
    try:
        return bool(run("find kernel", "apt-cache", "show", "--no-all-versions", package))
    except BuildError:
        return False


def _plain(path: Path) -> str:
    """``virtio-rng.ko.xz`` is the module ``virtio_rng``."""
    return path.name.partition(".")[0].replace("-", "_")


def _read_module(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        plain = path.with_suffix("")
        run("unpack kernel", "zstd", "-q", "-d", "-f", path, "-o", plain)
        return plain.read_bytes()
    return path.read_bytes()


def _depends(module: bytes) -> list[str]:
    """The modules that this one names in its ``.modinfo`` section."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name.replace("-", "_") for name in found[1].decode().split(",") if name] if found else []
