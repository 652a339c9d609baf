"""The connection, shown with the driver that libvirt has for tests."""

import asyncio
import threading
from typing import Any

import libvirt
import pytest

from adapters.libvirt.connection import Connection
from domain.errors import HostFailed, Unavailable
from tests.aio import asynchronous
from tests.waiting import until

URI = "test:///default"


@asynchronous
async def test_what_goes_wrong() -> None:
    connection = Connection(URI)
    with pytest.raises(HostFailed) as refusal:
        await connection.call(lambda conn: conn.lookupByName("nobody"))
    assert refusal.value.details == "Domain not found"
    with pytest.raises(ZeroDivisionError):
        await connection.call(lambda _: 1 // 0)
    with pytest.raises(Unavailable):
        await Connection("test:///no/such/file").call(lambda conn: conn.getHostname())
    await connection.close()


@asynchronous
async def test_what_is_under_way_is_waited_for() -> None:
    connection = Connection(URI)
    begun, finish = threading.Event(), threading.Event()

    def work(_: Any) -> None:
        begun.set()
        finish.wait(10)

    call = asyncio.create_task(connection.call(work))
    await until(begun.is_set)
    call.cancel()
    done, _ = await asyncio.wait([call], timeout=0.2)
    assert not done
    finish.set()
    await asyncio.wait([call], timeout=10)
    assert call.cancelled()
    await connection.close()


@asynchronous
async def test_listeners_hear_of_domains_and_of_the_end() -> None:
    connection = Connection(URI)
    heard: list[str | None] = []
    connection.listen(heard.append)

    def restart(conn: libvirt.virConnect) -> str:
        domain = conn.lookupByName("test")
        domain.destroy()
        domain.create()
        uuid: str = domain.UUIDString()
        return uuid

    uuid = await connection.call(restart)
    await until(lambda: len(heard) == 2)
    await connection.close()
    assert heard == [uuid, uuid, None]
    connection.unlisten(heard.append)
