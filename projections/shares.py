"""How much one owner may have of what all share: those who wait for more wait behind their own."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

BESIDE_SECONDS = 1.0
"""So long somebody who has asked counts as one who may ask again."""


class _Share:
    def __init__(self) -> None:
        self.taken = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class Shares:
    """So many at once for an owner who is alone, and fewer while others ask, too."""

    def __init__(self, alone: int, beside: int) -> None:
        self._alone = alone
        self._beside = beside
        self._shares: dict[str, _Share] = {}
        """Of those who have or want some."""
        self._last: dict[str, float] = {}
        """When those two asked who asked last."""

    @asynccontextmanager
    async def one(self, owner: str) -> AsyncIterator[None]:
        """Have one of the owner's, as soon as there is one."""
        self._note(owner)
        share = self._shares.setdefault(owner, _Share())
        if share.waiting or share.taken >= self._most(owner):
            await self._wait(owner, share)
        else:
            share.taken += 1
        try:
            yield
        finally:
            share.taken -= 1
            self._wake(owner, share)

    def _note(self, owner: str) -> None:
        self._last.pop(owner, None)
        self._last[owner] = asyncio.get_running_loop().time()
        if len(self._last) > 2:
            del self._last[next(iter(self._last))]

    def _most(self, owner: str) -> int:
        now = asyncio.get_running_loop().time()
        others = any(asked > now - BESIDE_SECONDS for other, asked in self._last.items() if other != owner)
        return self._beside if others else self._alone

    async def _wait(self, owner: str, share: _Share) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        share.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                share.taken -= 1
            self._wake(owner, share)
            raise

    def _wake(self, owner: str, share: _Share) -> None:
        while share.waiting and share.taken < self._most(owner):
            turn = share.waiting.popleft()
            if not turn.done():  # else it was given up meanwhile
                share.taken += 1
                turn.set_result(None)
        if not share.taken and not share.waiting:
            self._shares.pop(owner, None)
