"""The machine's own clock and randomness."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4


class SystemClock:
    """Wall-clock time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemIds:
    """Random UUIDs."""

    def uuid(self) -> str:
        return str(uuid4())
