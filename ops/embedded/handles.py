"""Namespaces that stay while nobody is in them, and who is in them."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from adapters.libvirt.commands import make_directory
from domain.errors import Unavailable

PROC = Path("/proc")
END_SECONDS = 10.0
"""How long the kernel may take to end what was killed."""
_POLL = 0.02


class Handles:
    """The files of one directory, each a namespace. They are mounts: a reboot leaves nothing of them but files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def open(self) -> None:
        """Have the directory. Raises Unavailable."""
        # What is above may have to be passed by others, as dnsmasq.
        make_directory(self.directory, 0o700)
        if not _is_mount(self.directory):
            # The kernel keeps mount namespaces only where mounts are nobody else's to see.
            run("mount", "--bind", self.directory, self.directory)
            run("mount", "--make-private", self.directory)

    def fresh(self, name: str) -> Path:
        """A file for a namespace that is to be made; what was there is let go of."""
        self.forget(name)
        file = self.directory / name
        file.touch()
        return file

    def held(self, name: str) -> int | None:
        """Which namespace it is; None if it is none."""
        file = self.directory / name
        return file.stat().st_ino if _is_mount(file) else None

    def names(self, kind: str) -> list[str]:
        """Of those that are called ``<name>.<kind>``."""
        return sorted(file.stem for file in self.directory.glob(f"*.{kind}"))

    def forget(self, name: str) -> None:
        """Let go of it: it ends with its last process. Harmless if there is none."""
        file = self.directory / name
        while _is_mount(file):
            run("umount", "--lazy", file)
        file.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of all, and remove the directory. Raises Unavailable."""
        if not self.directory.exists():
            return
        for file in self.directory.iterdir():
            self.forget(file.name)
        while _is_mount(self.directory):
            run("umount", self.directory)
        shutil.rmtree(self.directory)


def _is_mount(path: Path) -> bool:
    """Also where a directory is mounted over itself, which its numbers do not tell."""
    # Blanks and the like are written as octal numbers; proc(5).
    words = (line.split()[4] for line in (PROC / "self" / "mountinfo").read_text().splitlines())
    return str(path) in {re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), word) for word in words}


def inhabitants(kind: str, namespace: int) -> list[int]:
    """The processes in a namespace; ``kind`` as in /proc/PID/ns."""
    found = []
    for process in PROC.glob("[0-9]*"):
        try:
            if (process / "ns" / kind).stat().st_ino == namespace:
                found.append(int(process.name))
        except OSError:
            # It has ended meanwhile.
            continue
    return found


def end_inhabitants(kind: str, namespace: int) -> None:
    """Kill every process in a namespace, also those that it starts meanwhile. Raises Unavailable."""
    deadline = time.monotonic() + END_SECONDS
    while left := inhabitants(kind, namespace):
        if time.monotonic() > deadline:
            raise Unavailable(f"processes {left} do not end")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(_POLL)


def run(*words: str | Path) -> str:
    """Run a program of the system to its end. Raises Unavailable with what it says."""
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise Unavailable(f"{words[0]} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(str(word) for word in words[:4])}: {done.stderr.strip() or done.returncode}")
    return done.stdout
