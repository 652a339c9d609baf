"""Who lives: the signs of life of hosts and processes, as this process has heard them."""

from contextlib import aclosing, suppress
from datetime import datetime, timedelta

from domain.errors import Unavailable
from handlers.ports import Beat, Clock, Liveness

BEAT_SECONDS = 5.0
DOWN_AFTER = timedelta(seconds=20)
"""A host that was silent for so long gets no new servers."""


class LifeSigns:
    """The last beat of every sender."""

    def __init__(self, liveness: Liveness, clock: Clock) -> None:
        self._liveness = liveness
        self._clock = clock
        self.beats: dict[str, Beat] = {}

    async def run(self) -> None:
        """Listen until cancelled."""
        async with aclosing(self._liveness.watch()) as beats:  # type: ignore[type-var]
            async for beat in beats:
                self.beats[beat.name] = beat

    def last_seen(self, name: str) -> datetime | None:
        """When ``role/name`` was heard last."""
        beat = self.beats.get(name)
        return beat.time if beat else None

    def alive(self, name: str) -> bool:
        """Whether ``role/name`` was heard lately."""
        seen = self.last_seen(name)
        return seen is not None and self._clock.now() - seen < DOWN_AFTER

    def host_up(self, host: str) -> bool:
        """Whether the host's agent was heard lately."""
        return self.alive(f"compute/{host}")


async def keep_beating(liveness: Liveness, clock: Clock, name: str, facts: dict[str, object]) -> None:
    """Beat until cancelled."""
    while True:
        with suppress(Unavailable):
            await liveness.beat(name, facts)
        await clock.sleep(BEAT_SECONDS)
