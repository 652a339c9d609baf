"""A disk that fills, on the real parts: commands are refused, nothing is lost, and with room again all goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.disk_space import space
from tests.e2e.live_stack import LiveStack
from tests.waiting import wait_until

SIZE = "400m"
MANY = {f"key{number}": "v" * 255 for number in range(100)}
"""Enough for the log to need another block of the disk soon."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    disk = tmp_path / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def _fill(disk: Path) -> Path:
    """Take all that is free, while others free a little or take it, too."""
    file = disk / "fill"
    with file.open("ab", buffering=0) as target:
        wanted = free = space(disk).free
        while wanted and free:
            try:
                os.posix_fallocate(target.fileno(), os.fstat(target.fileno()).st_size, wanted)
                wanted = free = space(disk).free
            except OSError:
                wanted //= 2
    return file


def _create(stack: LiveStack, name: str) -> int:
    image = stack.call("GET", "/image/v2/images?name=tiny").json()["images"][0]["id"]
    body = {"name": name, "flavorRef": "42", "imageRef": image, "networks": "none", "metadata": MANY}
    return stack.call("POST", "/compute/v2.1/servers", {"server": body}).status


def _names(stack: LiveStack) -> set[str]:
    listed = stack.call("GET", "/compute/v2.1/servers?all_tenants=1").json()["servers"]
    return {server["name"] for server in listed}


def test_a_disk_that_fills_and_has_room_again(small: Path) -> None:
    stack = LiveStack(small / "state", "--simulated-hosts", "2")
    try:
        stack.up()
        accepted = {"before"}
        assert _create(stack, "before") == 202
        fill = _fill(small)
        wait_until(lambda: "THE DISK IS FULL" in stack.lightcurve("status", check=False).stdout, 30)
        refused = set()
        for number in range(50):
            status = _create(stack, f"amid-{number}")
            (accepted if status == 202 else refused).add(f"amid-{number}")
            if status != 202:
                assert status == 503
                break
        assert refused
        assert "THE DISK IS FULL" in (stack.directory / "log" / "supervisor.log").read_text()
        fill.unlink()
        wait_until(lambda: _create(stack, "after") == 202, 90, "servers can be created again")
        assert accepted <= _names(stack)
        for server in stack.call("GET", "/compute/v2.1/servers?all_tenants=1").json()["servers"]:
            stack.await_status(server["id"], "ACTIVE")
        assert "The ledger is sound" in stack.lightcurve("placement", "check").stdout
        wait_until(lambda: "FULL" not in stack.lightcurve("status").stdout, 30)
        stack.delete_all()
    finally:
        stack.down()
