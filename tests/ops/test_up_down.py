"""Who runs a stack, and who is told to stop: the holder of its lock, and never a stranger who has its number."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.errors import Invalid, Unavailable
from ops import up_down
from ops.embedded.nats import free_port
from ops.stack import Stack, running
from tests.waiting import wait_until

SUPERVISE = """
import signal, sys
from pathlib import Path
from ops.state_lock import StateLock
if "--no-lock" not in sys.argv:
    StateLock(Path(sys.argv[1]) / "run" / "supervisor.lock").take()
print("holds it", flush=True)
signal.pause()
"""


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    stack = Stack(tmp_path / "state")
    (stack.directory / "run").mkdir(parents=True)
    return stack


@pytest.fixture
def others() -> Iterator[list["subprocess.Popen[bytes]"]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def _start(others: list["subprocess.Popen[bytes]"], stack: Stack, *words: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", SUPERVISE, str(stack.directory), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    others.append(process)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def _write(stack: Stack, pid: int, phase: str = "up") -> None:
    stack.state_file.write_text(json.dumps({"pid": pid, "phase": phase, "programs": {}}))


def test_a_number_that_is_somebody_elses_now(stack: Stack, others: list["subprocess.Popen[bytes]"]) -> None:
    """After a crash or a reboot."""
    stranger = _start(others, stack, "--no-lock")
    _write(stack, stranger.pid)
    assert running(stack) is None
    assert not up_down._stop(stack)
    assert stranger.poll() is None


def test_the_holder_is_told_to_stop(
    stack: Stack, others: list["subprocess.Popen[bytes]"], capsys: pytest.CaptureFixture[str]
) -> None:
    holder = _start(others, stack, "supervise")
    _write(stack, holder.pid)
    found = running(stack)
    assert found is not None
    assert found["phase"] == "up"
    up_down.down(stack, erase=False)
    assert "is down" in capsys.readouterr().out
    assert holder.wait(10) < 0
    assert running(stack) is None


def test_what_an_earlier_one_wrote_is_not_believed(stack: Stack, others: list["subprocess.Popen[bytes]"]) -> None:
    holder = _start(others, stack, "supervise")
    _write(stack, os.getpid())
    assert running(stack) == {"pid": holder.pid, "phase": "starting", "programs": {}}


def test_a_holder_whose_number_means_another_process_here(
    stack: Stack, others: list["subprocess.Popen[bytes]"]
) -> None:
    """The directory is shared with another container."""
    holder = _start(others, stack)
    _write(stack, holder.pid)
    with pytest.raises(Unavailable, match="another machine or container"):
        up_down._stop(stack)
    assert holder.poll() is None


def test_a_supervisor_older_than_the_lock(stack: Stack, others: list["subprocess.Popen[bytes]"]) -> None:
    older = _start(others, stack, "--no-lock", "supervise")
    _write(stack, older.pid)
    assert running(stack) is not None
    assert up_down._stop(stack)
    assert older.wait(10) < 0


def test_a_second_supervisor_is_refused(stack: Stack, others: list["subprocess.Popen[bytes]"]) -> None:
    _start(others, stack, "supervise")
    with pytest.raises(Unavailable, match="another supervisor"):
        up_down.supervise(stack)


def test_a_wait_for_one_that_is_stopped_ends(stack: Stack, others: list["subprocess.Popen[bytes]"]) -> None:
    holder = _start(others, stack, "supervise")
    _write(stack, holder.pid, "starting")
    holder.kill()
    wait_until(lambda: holder.poll() is not None, 10)
    with pytest.raises(Unavailable, match="stopped while it was being started"):
        up_down._await_up(stack)


def test_a_stack_with_simulated_hosts_is_started_with_them_again(stack: Stack) -> None:
    stack.set_up(nats_port=free_port(), api_port=free_port(), simulated_hosts=3)
    assert stack.settings().simulated.hosts == 3
    assert "compute" not in [program.name for program in stack.programs(stack.settings(), with_libvirt=False)]


def test_no_real_host_begins_where_hosts_were_simulated(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a configuration that says nothing of them, as older ones do not."""
    stack.set_up(nats_port=free_port(), api_port=free_port())
    monkeypatch.setenv("LIGHTCURVE_SIMULATED_HOSTS", "3")
    stack.prepare(stack.settings())
    monkeypatch.delenv("LIGHTCURVE_SIMULATED_HOSTS")
    with pytest.raises(Unavailable, match="--simulated-hosts 3 again"):
        up_down.up(stack, nats_port=1, api_port=1, simulated_hosts=None, hosts=None)
    with pytest.raises(Invalid, match="erase it first"):
        up_down.up(stack, nats_port=1, api_port=1, simulated_hosts=None, hosts=2)


def test_what_cannot_be_erased_is_said(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "is_set_up", property(lambda _: True))

    def refuse(_stack: Stack) -> None:
        raise Unavailable("libvirt does not start")

    monkeypatch.setattr(Stack, "remove_guests", refuse)
    with pytest.raises(Unavailable, match="libvirt does not start"):
        up_down.down(stack, erase=True)
    assert stack.directory.exists()
