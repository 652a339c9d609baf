"""Programs that we are measured and compared with, each in an environment of its own under ``.venv-oracles``."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

from domain.errors import Unavailable

ROOT = Path(__file__).resolve().parents[2] / ".venv-oracles"
LOCKS = Path(__file__).resolve().parent


def environment(name: str) -> Path:
    """The directory of the programs of an oracle's environment, made from ``ops/oracles/NAME.lock`` if it is not
    there yet. Raises Unavailable, with what pip says, if it cannot be made."""
    lock = LOCKS / f"{name}.lock"
    directory = ROOT / name
    ROOT.mkdir(exist_ok=True)
    with (ROOT / f"{name}.busy").open("w") as busy:
        # Several test processes may want it at once: one makes it, the others wait.
        fcntl.flock(busy, fcntl.LOCK_EX)
        _ensure(name, lock, directory)
    return directory / "bin"


def _ensure(name: str, lock: Path, directory: Path) -> None:
    stamp = directory / "installed.sha256"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True)
        pip = [str(directory / "bin" / "pip"), "--disable-pip-version-check", "--quiet", "install"]
        done = subprocess.run(
            [*pip, "--require-hashes", "--no-deps", "-r", str(lock)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unavailable(f"The oracle {name} cannot be installed: {done.stderr.strip()[-800:]}")
        stamp.write_text(wanted)
