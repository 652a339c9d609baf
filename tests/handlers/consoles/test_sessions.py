"""Console sessions whose grant or server is out of order: they harm no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from domain import console
from domain.console import ConsoleClosed
from domain.errors import OutOfOrder, Unavailable
from domain.server.state import Server, aggregate
from handlers.consoles.consoles import Consoles
from handlers.consoles.sessions import Doorkeeper, Session
from handlers.context import Context
from handlers.messages import ConsoleAddress, encode
from tests.aio import asynchronous
from tests.cell import Cell
from tests.clocks import InstantClock
from tests.future import append_of_the_future
from tests.waiting import until

USER = Context(request_id="req-user", user_id="u", project_id="p")


class House:
    """A cell, and who lets viewers in to the consoles of its servers."""

    def __init__(self) -> None:
        self.cell = Cell(InstantClock())
        self.consoles = Consoles(self.cell.store, self.cell.bus, self.cell.stamp)
        self.doorkeeper = Doorkeeper(self.cell.store, self.consoles, self.cell.stamp, lambda *_: True, "console-1")

    async def server(self) -> Server:
        found, _ = await self.cell._servers.load(aggregate(await self.cell.server()))
        assert found
        return found

    async def session(self) -> Session:
        return Session(await self.consoles.issue(USER, await self.server(), "novnc"), "192.0.2.1")

    async def is_closed(self, session: Session) -> bool:
        history = await self.cell.store.load(console.aggregate(session.grant_id))
        return any(isinstance(recorded.event, ConsoleClosed) for recorded in history)


@asynccontextmanager
async def _house() -> AsyncIterator[House]:
    async def answer(_host: str, _question: bytes) -> bytes:
        return encode(ConsoleAddress(host="127.0.0.1", port=5900))

    house = House()
    await house.cell.enrol()
    at_work = [
        asyncio.create_task(house.doorkeeper.run()),
        asyncio.create_task(house.cell.bus.serve_questions(["node1"], answer)),
    ]
    await asyncio.sleep(0)
    try:
        yield house
    finally:
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)


@pytest.mark.parametrize("of", ["grant", "server"])
@asynchronous
async def test_nobody_gets_in_by_what_is_out_of_order(of: str) -> None:
    async with _house() as house:
        ill, well = await house.session(), await house.session()
        held, _ = await house.consoles.redeemable(ill.token)
        where = console.aggregate(ill.grant_id) if of == "grant" else aggregate(held.server_id)
        await append_of_the_future(house.cell.broker, where)
        with pytest.raises(OutOfOrder):
            async with house.doorkeeper.admitted(ill):
                pass
        async with house.doorkeeper.admitted(well) as admission:
            assert admission.place.port == 5900


@asynchronous
async def test_an_end_that_can_never_be_recorded_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _house() as house:
        ill, well = await house.session(), await house.session()
        async with house.doorkeeper.admitted(ill):
            await append_of_the_future(house.cell.broker, console.aggregate(ill.grant_id))
        close, failed = house.consoles.close, False

        async def failing_once(context: Context, grant_id: str, closed: ConsoleClosed) -> None:
            nonlocal failed
            if grant_id == well.grant_id and not failed:
                failed = True
                raise Unavailable("The log does not answer.")
            await close(context, grant_id, closed)

        monkeypatch.setattr(house.consoles, "close", failing_once)
        async with house.doorkeeper.admitted(well):
            pass
        await until(lambda: house.is_closed(well))
        assert failed
        assert not await house.is_closed(ill)
