"""The machine's own clock and randomness."""

import asyncio
from datetime import UTC, datetime
from os import urandom

_VERSION_4 = 0x4000_8000_0000_0000_0000
"""The bits of a UUID that say that it is random (RFC 9562)."""
_RANDOM = (1 << 128) - 1 & ~0xF000_C000_0000_0000_0000


class SystemClock:
    """Wall-clock time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemIds:
    """Random UUIDs."""

    def uuid(self) -> str:
        number = int.from_bytes(urandom(16)) & _RANDOM | _VERSION_4
        text = f"{number:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
