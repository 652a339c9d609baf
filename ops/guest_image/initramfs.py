"""The guest's root file system: busybox, the kernel's modules and our scripts, as a cpio archive.

Written here, byte by byte, so that the same inputs always give the same image and no rights are needed.
Format: https://docs.kernel.org/driver-api/early-userspace/buffer-format.html.
"""

import stat
from dataclasses import dataclass, field
from pathlib import Path

from ops.guest_image.tools import run

SCRIPTS = Path(__file__).parent / "root"
BUSYBOX = Path("/bin/busybox")
DIRECTORIES = ("boot", "dev", "mnt", "modules", "proc", "root", "run", "sys", "tmp")
EXECUTABLE = ("etc/rc", "etc/acpi/PWRF/00000080", "usr/share/udhcpc/script", "www/cgi-bin/index.cgi")


@dataclass
class Archive:
    """A cpio archive in the "newc" format, owned by root, without times."""

    content: bytearray = field(default_factory=bytearray)
    _known: set[str] = field(default_factory=set)

    def directory(self, path: str) -> None:
        """Add a directory and those above it."""
        parent = str(Path(path).parent)
        if path == "." or path in self._known:
            return
        self.directory(parent)
        self._entry(path, stat.S_IFDIR | 0o755)

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file, and the directories above it."""
        self.directory(str(Path(path).parent))
        self._entry(path, stat.S_IFREG | mode, content)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link, and the directories above it."""
        self.directory(str(Path(path).parent))
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def finished(self) -> bytes:
        """The archive with its end mark."""
        self._entry("TRAILER!!!", 0)
        return bytes(self.content)

    def _entry(self, path: str, mode: int, content: bytes = b"") -> None:
        self._known.add(path)
        name = path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        inode = len(self._known)
        fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
        self.content += b"070701" + b"".join(b"%08X" % number for number in fields) + name
        self._pad()
        self.content += content
        self._pad()

    def _pad(self) -> None:
        self.content += bytes(-len(self.content) % 4)


def build_initramfs(modules: dict[str, bytes]) -> bytes:
    """The archive, uncompressed. ``modules`` are in the order in which the guest shall load them."""
    archive = Archive()
    for directory in DIRECTORIES:
        archive.directory(directory)
    archive.file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
    for applet in run("list busybox's commands", BUSYBOX, "--list").split():
        if applet != "busybox":
            archive.link(f"bin/{applet}", "busybox")
    archive.link("sbin", "bin")
    archive.link("init", "bin/busybox")
    for path in sorted(SCRIPTS.rglob("*")):
        name = path.relative_to(SCRIPTS).as_posix()
        if path.is_file():
            archive.file(name, path.read_bytes(), 0o755 if name in EXECUTABLE else 0o644)
    for name, content in modules.items():
        archive.file(f"modules/{name}", content)
    archive.file("etc/modules.list", "".join(f"/modules/{name}\n" for name in modules).encode())
    return archive.finished()
