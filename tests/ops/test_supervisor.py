"""The supervisor starts in order, keeps what it started, and stops all."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.disk_space import Space
from ops import keeper, supervisor
from ops.supervisor import Failed, Pace, Program, Supervisor
from tests.aio import asynchronous
from tests.waiting import until

SAY = """
import os, signal, socket, sys, time
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
say = lambda words: notices.sendto(words, chr(0) + os.environ["NOTIFY_SOCKET"][1:])
"""
SERVE = (
    SAY
    + """
say(b"READY=1")
while True:
    time.sleep(0.05)
    say(b"WATCHDOG=1")
"""
)
QUICK = Pace(starting=0.02, look=0.1, answer=0.5, silence=0.6, first_word=30)
"""Silence counts after moments; a first word may wait for an interpreter on a busy machine."""
PATIENT = Pace(look=0.1)


def _program(name: str, code: str = SERVE, **facts: Any) -> Program:
    return Program(name, (sys.executable, "-c", code), **facts)


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser may let a program go first")
@asynchronous
async def test_who_answers_goes_before_others(tmp_path: Path) -> None:
    running = Running(tmp_path, _program("first", nice=-10), _program("other"))
    await running.up()
    try:
        assert [os.getpriority(os.PRIO_PROCESS, running.pid(name)) for name in ("first", "other")] == [-10, 0]
        groups = [Path(f"/proc/{running.pid(name)}/autogroup") for name in ("first", "other")]
        if groups[0].exists():
            assert [group.read_text().split()[-1] for group in groups] == ["-10", "0"]
    finally:
        await running.stop()


class Running:
    """A supervisor at work."""

    def __init__(self, tmp_path: Path, *programs: Program, pace: Pace = PATIENT, disk: Path | None = None) -> None:
        self.state_file = tmp_path / "state.json"
        self.supervisor = Supervisor(list(programs), tmp_path / "log", self.state_file, pace=pace, disk=disk)
        self.task = asyncio.create_task(self.supervisor.run())

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}
        return state

    def program(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = self.state().get("programs", {}).get(name, {})
        return facts

    def pid(self, name: str) -> int:
        return int(self.program(name)["pid"])

    async def up(self) -> None:
        await until(lambda: self.state().get("phase") == "up", 30)

    async def again(self, name: str, before: int) -> None:
        """Until it has been started anew, and is ready."""
        await until(lambda: self.pid(name) != before and self.program(name)["state"] == "ready", 30)

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
async def test_each_waits_for_those_before_it_but_not_for_those_that_it_is_started_beside(tmp_path: Path) -> None:
    """The first is ready once the second runs, and the third may begin only then."""
    second, ready = tmp_path / "second", tmp_path / "ready"
    wait = f"import os, time\nwhile not os.path.exists({str(second)!r}): time.sleep(0.01)\n"
    tell = f"with open({str(ready)!r}, 'w') as told: told.write(str(time.time()))\n"
    running = Running(
        tmp_path,
        _program("first", wait + tell + SERVE),
        _program("second", f"open({str(second)!r}, 'w').close()\n{SERVE}", beside=True),
        _program("third"),
    )
    await running.up()
    assert running.program("third")["started"] >= float(ready.read_text())
    await running.stop()


@asynchronous
async def test_what_is_killed_is_started_again(tmp_path: Path) -> None:
    running = Running(tmp_path, _program("one"))
    await running.up()
    before = running.pid("one")
    os.kill(before, signal.SIGKILL)
    await running.again("one", before)
    assert running.program("one")["restarts"] == 1
    await running.stop()


@asynchronous
async def test_what_falls_silent_is_killed_and_started_again(tmp_path: Path) -> None:
    running = Running(tmp_path, _program("one"), pace=QUICK)
    await running.up()
    before = running.pid("one")
    os.kill(before, signal.SIGSTOP)
    await running.again("one", before)
    assert not _lives(before)
    await running.stop()


@asynchronous
async def test_what_falls_silent_while_it_starts_is_killed_and_started_again(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    hang = f"import pathlib; p = pathlib.Path({str(begun)!r})\nif not p.exists(): p.touch(); signal.pause()\n"
    running = Running(tmp_path, _program("one", f"{SAY}say(b'WATCHDOG=1')\n{hang}{SERVE}"), pace=QUICK)
    await running.up()
    assert running.program("one")["restarts"] == 1
    await running.stop()


@asynchronous
async def test_one_that_no_longer_answers_is_seen_and_started_again(tmp_path: Path) -> None:
    answers = {"now": True}
    running = Running(tmp_path, _program("part", ready=_answer(answers)), pace=QUICK)
    await running.up()
    before = running.pid("part")
    answers["now"] = False
    await until(lambda: running.program("part")["state"] == "silent")
    await until(lambda: running.pid("part") != before, 30)
    answers["now"] = True
    await running.again("part", before)
    await running.stop()


@asynchronous
async def test_a_question_that_fails_is_one_that_was_not_answered(tmp_path: Path) -> None:
    asked = 0

    async def ready() -> bool:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise RuntimeError("a bug in the question")
        return True

    running = Running(tmp_path, _program("part", ready=ready))
    await running.up()
    await running.stop()


@asynchronous
async def test_a_start_may_take_as_long_as_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than silence is borne, and all that while it is said what is waited for."""
    monkeypatch.setattr(supervisor, "WORD_SECONDS", 0.3)
    answers = {"now": False}
    slow = _program("slow", f"print('recovering a large store', flush=True)\n{SERVE}", ready=_answer(answers))
    running = Running(tmp_path, slow, pace=QUICK)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await until(lambda: "recovering a large store" in running.state().get("waiting", ""), 30)
    await until(lambda: loop.time() - begun > 3 * QUICK.silence)
    assert running.program("slow")["restarts"] == 0
    answers["now"] = True
    await running.up()
    assert running.state()["waiting"] == ""
    await running.stop()


@asynchronous
async def test_a_program_waits_for_the_one_before(tmp_path: Path) -> None:
    running = Running(tmp_path, _program("one", "import signal; signal.pause()"), _program("two"))
    await until(lambda: running.program("one"))
    assert "two" not in running.state()["programs"]
    await running.stop()


@asynchronous
async def test_one_that_ends_again_and_again_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "bad.log").write_text("words of an earlier run\n")
    running = Running(tmp_path, _program("one"), _program("bad", "raise SystemExit('the port is taken')"))
    with pytest.raises(Failed, match="the port is taken"):
        await running.task
    assert not _lives(running.pid("one"))


@asynchronous
async def test_whatever_keeps_a_program_from_being_started_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No files left, no memory, no room for its log: nobody's keeper ends of that."""
    running = Running(tmp_path, _program("one"))
    await running.up()
    failures = iter([OSError(28, "No space left on device"), BlockingIOError(11, "fork"), RuntimeError("a bug")])
    true = asyncio.create_subprocess_exec

    async def failing(*words: Any, **options: Any) -> asyncio.subprocess.Process:
        for failure in failures:
            raise failure
        return await true(*words, **options)

    monkeypatch.setattr(keeper, "BACKOFF_SECONDS", (0.01,))
    monkeypatch.setattr(keeper.asyncio, "create_subprocess_exec", failing)
    before = running.pid("one")
    os.kill(before, signal.SIGKILL)
    await running.again("one", before)
    await running.stop()


@asynchronous
async def test_what_cannot_be_written_down_keeps_nobody_from_being_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path, _program("one"))
    await running.up()
    before = running.pid("one")
    true = supervisor._write_down

    def full(_file: Path, _text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(supervisor, "_write_down", full)
    os.kill(before, signal.SIGKILL)
    one = running.supervisor._keepers["one"]
    await until(lambda: one.is_ready and one.restarts == 1, 30)
    monkeypatch.setattr(supervisor, "_write_down", true)
    again = int(str(one.facts["pid"]))
    os.kill(again, signal.SIGKILL)
    await running.again("one", again)
    await running.stop()


def test_without_room_for_a_new_file_the_old_one_is_written_over(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    supervisor._write_down(file, json.dumps({"what": "a long story" * 10}))
    (tmp_path / "state.new").mkdir()
    supervisor._write_down(file, json.dumps({"what": "a short one"}))
    assert json.loads(file.read_text()) == {"what": "a short one"}


@asynchronous
async def test_stopping_while_a_program_is_started_again_leaves_none(tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    code = f"import os, pathlib; print(os.getpid(), file=pathlib.Path({str(mark)!r}).open('a'), flush=True)\n{SERVE}"
    running = Running(tmp_path, _program("one", code))
    await running.up()
    os.kill(running.pid("one"), signal.SIGKILL)
    await running.stop()
    assert not any(_lives(int(pid)) for pid in mark.read_text().split())


@asynchronous
async def test_silence_on_a_full_disk_is_left_alone_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = {"free": 0}
    monkeypatch.setattr(keeper, "space", lambda _: Space(room["free"], 1000))
    answers = {"now": True}
    asked = 0

    async def ready() -> bool:
        nonlocal asked
        asked += 1
        return answers["now"]

    running = Running(tmp_path, _program("part", ready=ready, disk=tmp_path), pace=QUICK)
    await running.up()
    before = running.pid("part")
    answers["now"] = False
    await until(lambda: running.program("part")["state"] == "silent")
    looked = asked
    await until(lambda: asked > looked + 3 * QUICK.silence / QUICK.look, 30)
    assert running.pid("part") == before
    room["free"] = 500
    await until(lambda: running.pid("part") != before, 30)
    await running.stop()


@asynchronous
async def test_a_disk_is_told_of_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    room = {"free": 1000}
    monkeypatch.setattr(supervisor, "HOUSEKEEPING_SECONDS", 0.02)
    monkeypatch.setattr(supervisor, "space", lambda _: Space(room["free"] << 20, 1000 << 20))
    running = Running(tmp_path, disk=tmp_path)
    await until(lambda: "1000 of 1000 MiB" in running.state().get("disk", ""))
    room["free"] = 149
    await until(lambda: "the disk is nearly full: 149 of 1000 MiB" in running.state()["disk"])
    room["free"] = 50
    await until(lambda: "THE DISK IS FULL: 50 of 1000 MiB" in running.state()["disk"])
    room["free"] = 900
    await until(lambda: "900" in running.state()["disk"])
    await running.stop()
    told = [record.levelname for record in caplog.records if "MiB are free" in record.message]
    assert told == ["ERROR", "ERROR", "INFO"]


@asynchronous
async def test_only_our_own_user_is_heard(tmp_path: Path) -> None:
    address = tmp_path / "address"
    mute = (
        f"import os, pathlib, signal; pathlib.Path({str(address)!r}).write_text(os.environ['NOTIFY_SOCKET'])\n"
        "signal.pause()"
    )
    running = Running(tmp_path, _program("one", mute), pace=Pace(starting=60))
    await until(lambda: address.exists() and address.read_text())
    stranger = f"{SAY}os.setuid(65534); say(b'READY=1'); print('said')"
    said = await asyncio.create_subprocess_exec(
        sys.executable, "-c", stranger, env={**os.environ, "NOTIFY_SOCKET": address.read_text()},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert (await said.communicate())[0] == b"said\n"
    # What comes later is taken later: once a second word of ours is heard, the stranger's has been.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.sendto(b"WATCHDOG=1", "\0" + address.read_text()[1:])
    await until(lambda: running.supervisor._keepers["one"]._spoke)
    assert not running.supervisor._keepers["one"]._says_ready
    await running.stop()


def _answer(answers: dict[str, bool]) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        return answers["now"]

    return ready
