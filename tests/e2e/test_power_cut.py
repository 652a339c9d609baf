"""A machine that loses its power, and a log that loses something with it: what is gone is named, and put back."""

import asyncio
import json
import shutil
import threading
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import NamedTuple, Self

import psutil
import pytest

from adapters.mapper import EventMapper
from adapters.nats.store import NatsEventStore
from domain.kinds import EVENTS
from domain.log.checkpoint import Entry
from domain.log.recovery import ranges, told
from ops.embedded.nats import NatsProcess
from ops.roles.plane import open_connection
from ops.settings import Settings
from ops.stack import Stack
from projections.archive import Archive
from projections.postgres import connect
from tests.adapters.nats.damage import Damage, cut_the_end, cut_the_end_without_an_index, flip_a_byte, put_back
from tests.e2e.live_stack import LiveStack, wait_until

CELL = "cell1"
KINDS = ("an older copy", "a cut end", "a flipped byte")
MOST_SERVERS = 30
"""At once; the network has room for some more."""


class Load:
    """Somebody who creates and deletes servers, and remembers what was accepted."""

    def __init__(self, stack: LiveStack, random: Random) -> None:
        self._stack = stack
        self._random = random
        self.accepted = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def until(self, more: int) -> None:
        """Until so many more requests were accepted."""
        wanted = self.accepted + more
        wait_until(lambda: self.accepted >= wanted, 120, f"{wanted} requests are accepted")

    def _run(self) -> None:
        there: list[str] = []
        while not self._ending.is_set():
            try:
                if len(there) >= MOST_SERVERS or (there and self._random.random() < 0.3):
                    path = f"/compute/v2.1/servers/{there.pop(self._random.randrange(len(there)))}"
                    done = self._stack.call("DELETE", path).status == 204
                else:
                    metadata = {f"{key}": "x" * 250 for key in range(30)}
                    there.append(self._stack.create("vm", networks="none", metadata=metadata))
                    done = True
            except (OSError, HTTPException, AssertionError):
                # The power is gone, and with it who answers.
                continue
            self.accepted += done


def _cut_the_power(stack: LiveStack) -> None:
    """Everything ends at once, and nothing in good order."""
    supervisor = psutil.Process(json.loads((stack.directory / "run" / "supervisor.json").read_text())["pid"])
    everything = [supervisor, *supervisor.children(recursive=True)]
    for process in everything:
        process.suspend()
    for process in everything:
        process.kill()
    psutil.wait_procs(everything)


def _copied(stack: LiveStack, copy: Path) -> None:
    """The log's directory at one moment, as a snapshot of the disk has it."""
    server = psutil.Process(stack.pid("nats"))
    server.suspend()
    try:
        shutil.copytree(stack.directory / "nats", copy)
    finally:
        server.resume()


class Log(NamedTuple):
    """What a server finds in the directory."""

    end: int
    entries: dict[int, Entry]


def _in_log(stack: LiveStack) -> Log:
    owner = Stack(stack.directory)
    settings = owner.settings()
    server = NatsProcess(owner.nats(settings))
    server.start()
    try:
        return asyncio.run(_entries(settings))
    finally:
        server.stop()


async def _entries(settings: Settings) -> Log:
    connection = await open_connection(settings.nats, "test")
    try:
        store = NatsEventStore(connection, CELL, EventMapper(EVENTS))
        entries = [entry async for batch in store.entries(0, whole=False) for entry in batch]
        return Log(await store.last_position(), {entry.position: entry for entry in entries})
    finally:
        await connection.close()


async def _archived(stack: LiveStack, before: dict[int, Entry]) -> set[int]:
    """Which of these it has. Where both have lost the end without anybody's knowing, others may stand there now."""
    async with await connect(Stack(stack.directory).settings().database.url, "test") as connection:
        archive = Archive(connection)
        await archive.open()
        leaves = await archive.leaves(CELL, 1, max(before))
        return {position for position, entry in before.items() if leaves.get(position) == entry.leaf}


def _damage(kind: str, copy: Path, random: Random) -> Damage:
    if kind == "an older copy":
        return put_back(copy)
    return flip_a_byte if kind == "a flipped byte" else random.choice([cut_the_end, cut_the_end_without_an_index])


def _happens(stack: LiveStack, tmp_path: Path, kind: str, seed: int) -> None:
    random = Random(seed)
    with Load(stack, random) as load:
        load.until(random.randrange(10, 40))
        copy = tmp_path / "copy"
        _copied(stack, copy)
        load.until(random.randrange(10, 40))
        _cut_the_power(stack)
    before = _in_log(stack).entries
    _damage(kind, copy, random)(stack.directory / "nats", CELL)
    left = _in_log(stack)
    lost = sorted(position for position, entry in before.items() if left.entries.get(position) != entry)
    assert lost, "the damage has done something"
    stack.up()
    archived = asyncio.run(_archived(stack, before))
    # What a power cut takes of both at the end is known to nobody.
    known = [position for position in lost if position <= max(left.end, *archived)]
    _check_it_is_named(stack, known)
    stack.lightcurve("down")
    done = stack.lightcurve("log", "restore", check=False)
    whole = set(known) <= archived
    assert done.returncode == (0 if whole else 1), done.stdout + done.stderr + stack.logs()
    restored = _in_log(stack).entries
    back = [position for position in known if position in archived]
    assert [before[position] for position in back] == [restored.get(position) for position in back]
    unknown = _unknown_guests(stack)
    stack.up()
    if not whole:
        # The database had not written down its last moments either.
        stack.lightcurve("recover")
    _check_it_goes_on(stack, restored)
    if known == lost == back:
        assert _unknown_guests(stack) == unknown
    print(f"{kind}, seed {seed}: {len(lost)} of {len(before)} events lost, {len(back)} came back")


def _check_it_is_named(stack: LiveStack, known: list[int]) -> None:
    words = told(ranges(known)) if known else "stack up"

    status = ""

    def named() -> bool:
        nonlocal status
        status = stack.lightcurve("status").stdout
        return words in status and (not known or "The archive has" in status)

    try:
        wait_until(named, 60, f"status tells of {words}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {status}") from None


def _check_it_goes_on(stack: LiveStack, restored: dict[int, Entry]) -> None:
    stack.forget_tokens()
    wait_until(lambda: stack.lightcurve("checkpoint", check=False).returncode == 0, 60, "the logs are signed")
    verified = stack.lightcurve("verify", check=False)
    assert verified.returncode == 0, verified.stdout
    for server_id in _living(restored):
        assert stack.call("GET", f"/compute/v2.1/servers/{server_id}").status == 200, server_id
    stack.await_status(stack.create("after", networks="none"), "ACTIVE")
    wait_until(lambda: _nothing_is_under_way(stack), 120, "everything that was begun has ended")
    wait_until(lambda: _is_sound(stack), 150, "nothing is held for nobody")
    assert stack.lightcurve("verify", "--archive", check=False).returncode == 0
    stack.delete_all()


def _living(log: dict[int, Entry]) -> set[str]:
    """The servers that were requested, and whose deletion was not."""

    def of_type(name: bytes) -> set[str]:
        return {entry.subject.rpartition(".")[2] for entry in log.values() if b"ce-type: " + name in entry.headers}

    return of_type(b"server.requested\r\n") - of_type(b"server.delete_requested\r\n")


def _nothing_is_under_way(stack: LiveStack) -> bool:
    servers = stack.call("GET", "/compute/v2.1/servers/detail?all_tenants=1").json()["servers"]
    return all(server["OS-EXT-STS:task_state"] is None and server["status"] != "BUILD" for server in servers)


def _is_sound(stack: LiveStack) -> bool:
    return "is sound" in stack.lightcurve("placement", "check", check=False).stdout


def _unknown_guests(stack: LiveStack) -> int:
    """How often a host was found to have a guest that is not in the log."""
    return (stack.directory / "log" / "conductor.log").read_text().count("of which the log knows nothing")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_power_cut_took_comes_back(expendable: LiveStack, tmp_path: Path, kind: str) -> None:
    _happens(expendable, tmp_path, kind, seed=KINDS.index(kind))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_times(expendable: LiveStack, tmp_path: Path, kind: str, seed: int) -> None:
    _happens(expendable, tmp_path, kind, seed)
