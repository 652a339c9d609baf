"""A role says that it lives as long as its event loop turns."""

import asyncio
import gc
import socket
from pathlib import Path

import pytest

from ops import garbage, notify
from ops.notices import Notices
from tests.aio import asynchronous
from tests.waiting import until


@asynchronous
async def test_signs_of_life_and_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bool] = []
    notices = Notices(heard.append)
    monkeypatch.setenv("NOTIFY_SOCKET", notices.address)
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    alive = asyncio.create_task(notify.keep_saying_alive())
    await until(lambda: len(heard) > 3)
    assert not any(heard)
    notify.ready()
    await until(lambda: True in heard)
    alive.cancel()
    notices.close()


@asynchronous
async def test_who_lives_in_another_network_is_heard_by_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bool] = []
    place = tmp_path / "notices"
    for _ in range(2):
        # What a killed one left is in nobody's way.
        place.touch()
        notices = Notices(heard.append, place)
        monkeypatch.setenv("NOTIFY_SOCKET", notices.address)
        notify.ready()
        await until(lambda: True in heard)
        notices.close()
        heard.clear()
    assert not place.exists()


@pytest.mark.parametrize(
    ("limit", "seconds"), [("", 10), ("nonsense", 10), ("0", 10), ("9000000", 3), ("600000000", 10)]
)
def test_who_started_it_says_how_often(limit: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    assert notify._wanted_seconds() == seconds


def test_a_listener_that_does_not_keep_up_holds_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        for _ in range(10_000):
            notify.ready()
    notify.ready()


def test_once_ready_a_process_looks_for_garbage_but_not_among_what_it_started_with() -> None:
    usual = gc.get_threshold()
    garbage.wait()
    assert not gc.isenabled()
    try:
        notify.ready()
        assert gc.isenabled()
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
        gc.enable()


def test_who_did_not_wait_has_nothing_put_aside() -> None:
    before = gc.get_freeze_count()
    notify.ready()
    assert gc.get_freeze_count() == before
