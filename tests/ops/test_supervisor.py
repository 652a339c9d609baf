"""The supervisor starts in order, starts again what ends, and stops all."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from ops.supervisor import Failed, Program, Supervisor
from tests.aio import asynchronous
from tests.waiting import until

SERVE = """
import os, signal, socket
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notices.sendto(b"READY=1", chr(0) + os.environ["NOTIFY_SOCKET"][1:])
signal.pause()
"""


def _program(name: str, code: str = SERVE) -> Program:
    return Program(name, (sys.executable, "-c", code))


class Running:
    """A supervisor at work."""

    def __init__(self, tmp_path: Path, *programs: Program) -> None:
        self.state_file = tmp_path / "state.json"
        self.supervisor = Supervisor(list(programs), tmp_path / "log", self.state_file)
        self.task = asyncio.create_task(self.supervisor.run())

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}
        return state

    def pid(self, name: str) -> int:
        return int(self.state()["programs"][name]["pid"])

    async def up(self) -> None:
        await until(lambda: self.state().get("phase") == "up")

    async def stop(self) -> None:
        self.supervisor.stop()
        await self.task


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynchronous
async def test_up_and_down(tmp_path: Path) -> None:
    running = Running(tmp_path, _program("one"), _program("two"))
    await running.up()
    pids = [running.pid("one"), running.pid("two")]
    assert all(_lives(pid) for pid in pids)
    await running.stop()
    assert not any(_lives(pid) for pid in pids)
    assert running.state()["phase"] == "down"


@asynchronous
async def test_what_is_killed_is_started_again(tmp_path: Path) -> None:
    running = Running(tmp_path, _program("one"))
    await running.up()
    before = running.pid("one")
    os.kill(before, signal.SIGKILL)
    await until(lambda: running.pid("one") != before)
    assert running.state()["programs"]["one"]["restarts"] == 1
    await running.stop()


@asynchronous
async def test_a_program_waits_for_the_one_before(tmp_path: Path) -> None:
    running = Running(tmp_path, _program("one", "import signal; signal.pause()"), _program("two"))
    await until(lambda: "one" in running.state().get("programs", {}))
    assert "two" not in running.state()["programs"]
    await running.stop()


@asynchronous
async def test_one_that_ends_again_and_again_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    running = Running(tmp_path, _program("one"), _program("bad", "raise SystemExit('the port is taken')"))
    with pytest.raises(Failed, match="the port is taken"):
        await running.task
    assert not _lives(running.pid("one"))
