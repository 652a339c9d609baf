"""The control plane's machine loses its power, and its log the end, while real guests run: no guest stays that the
cloud does not know."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.stack import Stack
from projections.postgres import connect
from tests.e2e.live_stack import LiveStack
from tests.waiting import wait_until


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    live = LiveStack(tmp_path_factory.mktemp("cut"))
    try:
        live.up()
        yield live
    finally:
        live.down()


def domains(server: str) -> list[str]:
    listed = subprocess.run(["virsh", "list", "--all", "--name"], capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split() if server in name]


def put_back(stack: LiveStack, copy: Path) -> None:
    """The log's directory as it was."""
    shutil.rmtree(stack.directory / "nats")
    shutil.copytree(copy, stack.directory / "nats")


def kept(stack: LiveStack, copy: Path) -> Path:
    """The log's directory as it is at this moment."""
    stack.lightcurve("down")
    shutil.copytree(stack.directory / "nats", copy)
    stack.up()
    return copy


async def forget_in_archive(stack: LiveStack, *servers: str) -> None:
    """The database had not written it down either."""
    async with await connect(Stack(stack.directory).settings().database.url, "test") as connection:
        for server in servers:
            await connection.execute("DELETE FROM archive WHERE subject LIKE %s", (f"%{server}",))


def test_guests_are_known_again_or_settled(cloud: LiveStack, tmp_path: Path) -> None:
    stack, before = cloud, kept(cloud, tmp_path / "copy")
    built, building = stack.create("built"), stack.create("building")
    stack.await_status(built, "ACTIVE")
    wait_until(lambda: domains(building), 60, "its host has begun")

    stack.cut_the_power(guests_live=True)
    put_back(stack, before)
    stack.up()
    wait_until(lambda: "The archive has" in stack.lightcurve("status").stdout, 60, "the loss is named")
    stack.lightcurve("down")
    stack.lightcurve("log", "restore")
    stack.up()
    stack.forget_tokens()
    assert stack.await_status(built, "ACTIVE")
    assert stack.await_status(building, "ACTIVE", "ERROR")
    assert len(domains(built)) == 1

    asyncio.run(forget_in_archive(stack, built, building))
    stack.cut_the_power(guests_live=True)
    put_back(stack, before)
    stack.up()
    wait_until(lambda: "lightcurve recover" in stack.lightcurve("status").stdout, 60, "the loss is named")
    stack.lightcurve("recover", "--give-up")
    stack.forget_tokens()
    for server in sorted((built, building)):
        assert stack.show(server) is None
    for _ in range(2):
        (found,) = wait_until(lambda: unknown(stack, built, building), 150, "an unknown guest is named")[:1]
        stack.lightcurve("host", "remove-guest", found)
        wait_until(lambda gone=found: not domains(gone), 150, "its host removes it")
    assert not unknown(stack, built, building)
    stack.await_status(stack.create("after"), "ACTIVE")
    refused = stack.lightcurve("host", "remove-guest", stack.create("known"), check=False)
    assert "The log knows server" in refused.stderr
    stack.delete_all()


def unknown(stack: LiveStack, *servers: str) -> list[str]:
    """Those whose guests are there, and of which the list of hosts says that nobody knows them."""
    listed = stack.lightcurve("host", "list").stdout
    return [
        server
        for server in servers
        if f"guest {server}, of which the log knows nothing" in listed and domains(server)
    ]
