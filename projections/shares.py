"""How much one owner may have of what all share: those who wait for more wait behind their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Share:
    def __init__(self, each: int) -> None:
        self.free = asyncio.Semaphore(each)
        self.wanted = 0


class Shares:
    """So many at once for each owner."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._shares: dict[str, _Share] = {}
        """Of those who have or want some."""

    @asynccontextmanager
    async def one(self, owner: str) -> AsyncIterator[None]:
        """Have one of the owner's, as soon as there is one."""
        share = self._shares.setdefault(owner, _Share(self._each))
        share.wanted += 1
        try:
            async with share.free:
                yield
        finally:
            share.wanted -= 1
            if not share.wanted:
                del self._shares[owner]
