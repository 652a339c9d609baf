"""The machine's own clock and randomness."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4


class SystemClock:
    """Wall-clock time."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        await asyncio.sleep(seconds)


class SystemIds:
    """Random UUIDs."""

    def uuid(self) -> str:
        """A new random UUID, in its usual text form."""
        return str(uuid4())
