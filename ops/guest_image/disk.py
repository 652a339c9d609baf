"""A disk that boots by itself: one FAT partition, syslinux, and the kernel with its root file system as files."""

import struct
from pathlib import Path

from ops.guest_image.tools import MBR_CODE, run

SECTOR = 512
PARTITION_START = 2048
"""In sectors: 1 MiB, where partitions have begun since disks stopped having cylinders."""
DISK_MIB = 40
SERIAL_COMMAND_LINE = "console=tty0 console=ttyS0,115200 panic=1 quiet"
SYSLINUX = f"""DEFAULT tiny
PROMPT 0
TIMEOUT 1
LABEL tiny
  KERNEL /vmlinuz
  INITRD /initrd.img
  APPEND {SERIAL_COMMAND_LINE}
"""


def write_disk(raw: Path, kernel: Path, initrd: Path) -> None:
    """Write the disk as a raw file."""
    sectors = DISK_MIB * 1024 * 1024 // SECTOR - PARTITION_START
    with raw.open("wb") as disk:
        disk.truncate((PARTITION_START + sectors) * SECTOR)
        disk.write(MBR_CODE.read_bytes()[:440])
        # One bootable entry of type 0x0c (FAT32, LBA); the cylinder fields say "look at the LBA".
        disk.seek(446)
        beyond = bytes((0xFE, 0xFF, 0xFF))
        disk.write(struct.pack("<B3sB3sII", 0x80, beyond, 0x0C, beyond, PARTITION_START, sectors))
        disk.seek(510)
        disk.write(b"\x55\xaa")
    offset = PARTITION_START * SECTOR
    volume = f"{raw}@@{offset}"
    geometry = ("-T", str(sectors), "-h", "64", "-s", "32", "-H", str(PARTITION_START))
    run("make file system", "mformat", "-i", volume, *geometry, "-v", "TINY", "::")
    settings = raw.with_suffix(".cfg")
    settings.write_text(SYSLINUX)
    for source, name in ((kernel, "vmlinuz"), (initrd, "initrd.img"), (settings, "syslinux.cfg")):
        run("fill file system", "mcopy", "-i", volume, source, f"::/{name}")
    run("install boot loader", "syslinux", "--install", "--offset", str(offset), raw)
