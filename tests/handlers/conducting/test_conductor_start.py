"""A conductor that comes late looks at what is unfinished now, not at everything that was once under way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from msgspec.structs import replace

from domain.log.record import Recorded
from domain.server.state import ACTIVE
from handlers.conducting.conductor import Conductor
from handlers.conducting.states import ServerStates
from handlers.messages import command_decoder
from tests.aio import asynchronous
from tests.cell import Cell
from tests.domain.server.moves.servers import ARRIVED, CONFIRM, RESIZE
from tests.domain.server.servers import STOP
from tests.waiting import until


class OneByOne:
    """A store whose followers get each event alone, and have time for it."""

    def __init__(self, cell: Cell) -> None:
        self._store = cell.store

    async def follow(self, after: int, *kinds: str) -> AsyncIterator[list[Recorded]]:
        async for batch in self._store.follow(after, *kinds):
            for recorded in batch:
                yield [recorded]
                for _ in range(10):
                    await asyncio.sleep(0)
            if not batch:
                yield []


class Behind:
    """A read model that has read nothing yet, but for the ids that it names."""

    def __init__(self, *unfinished: str) -> None:
        self._unfinished = list(unfinished)

    async def unfinished(self) -> tuple[list[str], int]:
        return self._unfinished, 0

    async def living(self, _server_ids: Sequence[str]) -> tuple[set[str], int]:
        return set(), 0


class Ignored:
    """Takes part in nothing."""

    def take(self, *_: Any) -> None:
        pass


@asynchronous
async def test_what_is_over_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell()
    over, stopping, told = await cell.server(), await cell.server(), await cell.server()
    await cell.tell(stopping, STOP)
    states = ServerStates(cell.store, cell.stamp)
    nothing: Any = None
    conductor = Conductor(
        OneByOne(cell), states, nothing, nothing, nothing, cell.bus, cell.stamp, Behind(told, "elsewhere"),  # type: ignore[arg-type]
        Ignored(), nothing,  # type: ignore[arg-type]
    )  # fmt: skip
    opened: list[tuple[str, str]] = []
    monkeypatch.setattr(
        conductor.attention, "open", lambda server_id, project="", **_: opened.append((server_id, project))
    )
    working = asyncio.create_task(conductor.run())
    try:
        await until(lambda: len(opened) >= 2)
        project = (await states.get(over)).project_id  # type: ignore[union-attr]
        assert set(opened) == {("elsewhere", ""), (stopping, project)}
        await cell.tell(over, STOP)
        await until(lambda: (over, project) in opened)
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


@asynchronous
async def test_a_source_that_was_never_told_of_the_confirmation_is_told_at_its_end() -> None:
    """Whoever should have told it was down until the time was over: nobody would ever see the disk that it keeps."""
    cell, bus, holdings = Cell(), AsyncMock(), AsyncMock()
    confirming = await cell.server()
    await cell.tell(confirming, RESIZE, *ARRIVED, replace(CONFIRM, deadline=cell.stamp.clock.now()))
    states = ServerStates(cell.store, cell.stamp)
    conductor = Conductor(
        cell.store, states, holdings, Mock(), Mock(), bus, cell.stamp, Behind(), Mock(), AsyncMock()
    )
    assert await conductor._advance(confirming) is None
    host, _, command = bus.send.await_args.args
    told = command_decoder.decode(command)
    assert (host, told.kind, told.epoch) == ("node1", "discard", 1)
    server = await states.get(confirming)
    assert server
    assert (server.vm_state, server.move) == (ACTIVE, None)
