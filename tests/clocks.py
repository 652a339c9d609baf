"""Clocks for tests."""

import asyncio
from datetime import UTC, datetime, timedelta


class InstantClock:
    """Time passes at once when somebody sleeps; others have their turn meanwhile."""

    def __init__(self) -> None:
        self._now = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        await asyncio.sleep(0)
