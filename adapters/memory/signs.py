"""Signs of life and positions in memory."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from adapters.memory.broker import Broker, Cell, Faults, NoFaults
from handlers.ports import Beat


class MemoryLiveness:
    """The signs of life of one cell; promises what ``handlers.ports.Liveness`` does."""

    def __init__(self, broker: Broker, cell: str, faults: Faults | None = None) -> None:
        self._broker = broker
        self._cell = broker.cell(cell)
        self._faults: Faults = faults or NoFaults()

    async def beat(self, name: str, facts: dict[str, object]) -> None:
        await self._faults.before("beat")
        if self._faults.copies("beat"):
            said: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(facts))
            self._cell.beats[name] = self._broker.number(), Beat(name, self._broker.clock.now(), said)
            self._cell.beaten.give()

    async def watch(self) -> AsyncIterator[Beat]:
        seen = 0
        while True:
            new = sorted(numbered for numbered in self._cell.beats.values() if numbered[0] > seen)
            for number, beat in new:
                seen = number
                yield beat
            if not new:
                await self._cell.beaten.wait()


class MemoryPositions:
    """Positions of projections over all cells; promises what ``handlers.ports.Positions`` does."""

    def __init__(self, broker: Broker, faults: Faults | None = None) -> None:
        self._broker = broker
        self._faults: Faults = faults or NoFaults()

    async def announce(self, projection: str, cell: str, position: int) -> None:
        await self._faults.before("announce")
        if self._faults.copies("announce"):
            shared = self._broker.cell(cell)
            shared.reached[projection] = max(position, shared.reached.get(projection, 0))
            shared.announced.give()

    async def reached(self, projection: str, cell: str, position: int, timeout: float) -> bool:
        await self._faults.before("reached")
        shared = self._broker.cell(cell)
        if shared.reached.get(projection, 0) >= position:
            return True
        try:
            await self._broker.within(timeout, _wait(shared, projection, position))
        except TimeoutError:
            return False
        return True


async def _wait(cell: Cell, projection: str, position: int) -> None:
    while cell.reached.get(projection, 0) < position:
        await cell.announced.wait()
