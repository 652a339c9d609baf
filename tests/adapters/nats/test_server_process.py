"""The embedded server as a child: nobody is left with one that he does not know of."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from domain.errors import Unavailable
from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.nats

PARENT = """
import signal, sys
from pathlib import Path
from ops.embedded.nats import EmbeddedNats, NatsProcess
process = NatsProcess(EmbeddedNats(Path(sys.argv[1]), int(sys.argv[2])))
process.start()
print(process.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_who_started_it(tmp_path: Path, end: signal.Signals) -> None:
    port = free_port()
    argv = [sys.executable, "-c", PARENT, str(tmp_path), str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        parent.send_signal(end)
    try:
        wait_until(lambda: not _runs(server), 10, "the server has ended")
    finally:
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)


def test_a_second_one_is_not_let_at_the_same_files(mortal: NatsProcess) -> None:
    second = NatsProcess(EmbeddedNats(mortal.server.directory, mortal.server.port))
    with pytest.raises(Unavailable, match=f"Port {mortal.server.port} is taken"):
        second.start(timeout=0.1)
    assert mortal.pid


def _runs(pid: int) -> bool:
    """A zombie does not: where PID 1 is no init, nobody takes note of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
