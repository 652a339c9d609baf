"""Builds ``full``: an ordinary Debian with the real cloud-init and sshd, for proving what the tiny guest only plays.

One FAT partition with the boot loader and the kernel, one ext4 partition behind it, so that cloud-init can grow it.
Needs root, for mmdebstrap runs the packages' scripts; no loop device and no mount of the image.
"""

import hashlib
import shutil
import struct
import tempfile
from pathlib import Path

from ops.guest_image.build import alone
from ops.guest_image.disk import PARTITION_START, SECTOR
from ops.guest_image.tools import MBR_CODE, BuildError, run

PACKAGES = (
    *("linux-image-cloud-amd64", "systemd-sysv", "dbus", "udev", "cloud-init", "cloud-guest-utils", "openssh-server"),
    *("ifupdown", "isc-dhcp-client", "iproute2", "netbase", "e2fsprogs", "qemu-guest-agent", "sudo"),
)
TOOLS = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs"}
BOOT_MIB, ROOT_MIB = 96, 1536
SUITE = "bookworm"
SYSLINUX = """DEFAULT full
PROMPT 0
TIMEOUT 1
LABEL full
  KERNEL /vmlinuz
  INITRD /initrd.img
  APPEND root=LABEL=root ro console=tty0 console=ttyS0,115200 net.ifnames=0 quiet
"""
FILES = {
    "etc/fstab": "LABEL=root / ext4 errors=remount-ro 0 1\n",
    "etc/hostname": "full\n",
    # Without packages of languages there is no locale to set.
    "etc/cloud/cloud.cfg.d/90_lightcurve.cfg": "datasource_list: [ConfigDrive, OpenStack, None]\nlocale: false\n",
}
FORGOTTEN = ("etc/machine-id", "var/lib/dbus/machine-id", "etc/ssh/ssh_host_*", "var/cache/apt/archives/*.deb",
             "var/lib/apt/lists/*", "usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*")  # fmt: skip
"""What must differ from guest to guest, and what none needs."""


def full_image(cache: Path) -> Path:
    """Build the image under ``cache``, or return the one that is there if its inputs have not changed.

    Takes two or three minutes and the distribution's archive. Raises BuildError.
    """
    missing = sorted(package for program, package in TOOLS.items() if shutil.which(program) is None)
    if missing:
        raise BuildError(f"install {' '.join(missing)} (apt-get install --no-install-recommends …)")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with alone(cache / ".lock-full"):
            target = cache / f"full-{_digest()}.qcow2"
            if not target.exists():
                _build(target)
                for stale in cache.glob("full-*.qcow2"):
                    if stale != target:
                        stale.unlink()
            return target
    except OSError as error:
        raise BuildError(f"{error.strerror or error}: {error.filename or cache}") from error


def _build(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-full-") as scratch:
        work = Path(scratch)
        root = work / "root"
        include = f"--include={','.join(PACKAGES)}"
        run("install Debian", "mmdebstrap", "--quiet", "--mode=root", "--variant=important", include, SUITE, root,
            timeout=1200.0)  # fmt: skip
        _prepare(root)
        raw = work / "full.raw"
        _write_disk(work, root, raw)
        done = work / "full.qcow2"
        run("write image", "qemu-img", "convert", "-q", "-O", "qcow2", "-c", "-o", "compression_type=zstd", raw, done)
        done.rename(target)


def _prepare(root: Path) -> None:
    for pattern in FORGOTTEN:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (root / "etc/machine-id").touch()
    for name, content in FILES.items():
        (root / name).write_text(content)


def _write_disk(work: Path, root: Path, raw: Path) -> None:
    boot_sectors, root_sectors = (mib * 1024 * 1024 // SECTOR for mib in (BOOT_MIB, ROOT_MIB))
    root_start = PARTITION_START + boot_sectors
    with raw.open("wb") as disk:
        disk.truncate((root_start + root_sectors) * SECTOR)
        disk.write(MBR_CODE.read_bytes()[:440])
        disk.seek(446)
        beyond = bytes((0xFE, 0xFF, 0xFF))
        disk.write(struct.pack("<B3sB3sII", 0x80, beyond, 0x0C, beyond, PARTITION_START, boot_sectors))
        disk.write(struct.pack("<B3sB3sII", 0x00, beyond, 0x83, beyond, root_start, root_sectors))
        disk.seek(510)
        disk.write(b"\x55\xaa")
    offset = PARTITION_START * SECTOR
    volume = f"{raw}@@{offset}"
    geometry = ("-T", str(boot_sectors), "-h", "64", "-s", "32", "-H", str(PARTITION_START))
    run("make boot partition", "mformat", "-i", volume, *geometry, "-v", "BOOT", "::")
    settings = work / "syslinux.cfg"
    settings.write_text(SYSLINUX)
    (kernel,), (initrd,) = root.glob("boot/vmlinuz-*"), root.glob("boot/initrd.img-*")
    for source, name in ((kernel, "vmlinuz"), (initrd, "initrd.img"), (settings, "syslinux.cfg")):
        run("fill boot partition", "mcopy", "-i", volume, source, f"::/{name}")
    run("install boot loader", "syslinux", "--install", "--offset", str(offset), raw)
    inside = f"offset={root_start * SECTOR}"
    # In blocks of a kilobyte: the file system has to end with its partition.
    run("make root file system", "mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, "-E", inside, "-F", raw,
        f"{ROOT_MIB * 1024}k")  # fmt: skip


def _digest() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
