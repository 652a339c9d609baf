"""A lock that is held as long as its holder lives, and no longer."""

import subprocess
import sys
from pathlib import Path

from ops.state_lock import StateLock

HOLD = """
import signal, sys
from pathlib import Path
from ops.state_lock import StateLock
print(StateLock(Path(sys.argv[1])).take(), flush=True)
signal.pause()
"""


def test_it_is_let_go_of_however_its_holder_ends(tmp_path: Path) -> None:
    lock = StateLock(tmp_path / "run" / "lock")
    assert lock.holder() is None
    assert not lock.exists()
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run" / "lock"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert lock.holder() == holder.pid
        assert not lock.take()
        holder.kill()
    assert lock.holder() is None
    assert lock.exists()
    assert lock.take()


def test_looking_does_not_let_go_of_it(tmp_path: Path) -> None:
    mine, other = StateLock(tmp_path / "lock"), StateLock(tmp_path / "lock")
    assert mine.take()
    assert mine.holder() is not None
    assert other.holder() is not None
    assert not other.take()
    mine.release()
    assert other.take()
    other.release()
