"""The outside programs of the builder, each named with the package that brings it."""

import shutil
import subprocess
from pathlib import Path

PACKAGE_OF = {
    "apt-cache": "apt",
    "apt-get": "apt",
    "busybox": "busybox-static",
    "dpkg": "dpkg",
    "mcopy": "mtools",
    "mformat": "mtools",
    "qemu-img": "qemu-utils",
    "syslinux": "syslinux",
    "zstd": "zstd",
}
MBR_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
STEP_TIMEOUT = 300.0
"""Seconds for one program; the slowest is the download of the kernel (30 MB)."""


class BuildError(Exception):
    """A step failed; the message says which one and what would help."""


def require_tools() -> None:
    """Raise BuildError naming every package that is missing, so that one apt-get mends all."""
    missing = {package for program, package in PACKAGE_OF.items() if shutil.which(program) is None}
    if not MBR_CODE.exists():
        missing.add("syslinux-common")
    if missing:
        raise BuildError(f"install {' '.join(sorted(missing))} (apt-get install --no-install-recommends …)")


def run(step: str, *argv: str | Path, cwd: Path | None = None, timeout: float = STEP_TIMEOUT) -> str:
    """Run a program to its end and return what it printed. ``step`` is what the error will call it."""
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{step}: {argv[0]} took longer than {timeout:.0f} s") from error
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise BuildError(f"{step}: {argv[0]} failed: {' / '.join(last) or f'exit status {done.returncode}'}")
    return done.stdout
