"""Who lives: the signs of life of hosts and processes, as this process has heard them."""

from collections.abc import Mapping
from contextlib import aclosing, suppress
from datetime import datetime, timedelta

from domain.errors import Unavailable
from handlers.ports import Beat, Clock, Liveness

BEAT_SECONDS = 5.0
DOWN_AFTER = timedelta(seconds=20)
"""A host that was silent for so long gets no new servers."""
MAX_SENDERS = 200_000
"""Senders that are remembered; the one heard of first makes room."""


class LifeSigns:
    """The last beat of every sender."""

    def __init__(self, liveness: Liveness, clock: Clock) -> None:
        self._liveness = liveness
        self._clock = clock
        self.beats: dict[str, Beat] = {}
        self._roles: dict[str, dict[str, None]] = {}
        """The names of the senders, by role."""
        self._noticed: dict[str, datetime] = {}
        """When the last beat was new here, by this process's clock."""
        self._latest: datetime | None = None
        """The time of the beat that came last, by the clock that stamps them."""

    async def run(self) -> None:
        """Listen until cancelled."""
        async with aclosing(self._liveness.watch()) as beats:  # type: ignore[type-var]
            async for beat in beats:
                self._take(beat)

    def _take(self, beat: Beat) -> None:
        self._latest = beat.time
        known = self.beats.get(beat.name)
        if known is not None and known.time == beat.time:
            # After an interruption the last ones come once more.
            return
        if known is None and len(self.beats) >= MAX_SENDERS:
            first = next(iter(self.beats))
            del self.beats[first], self._noticed[first], self._roles[_role(first)][first]
        self.beats[beat.name] = beat
        self._roles.setdefault(_role(beat.name), {})[beat.name] = None
        self._noticed[beat.name] = self._clock.now()

    def of_role(self, role: str) -> list[Beat]:
        """The last beats of the senders of a role; costs what it returns."""
        return [self.beats[name] for name in self._roles.get(role, ())]

    def last_seen(self, name: str) -> datetime | None:
        """When ``role/name`` was heard last."""
        beat = self.beats.get(name)
        return beat.time if beat else None

    def alive(self, name: str) -> bool:
        """Whether ``role/name`` was heard lately.

        Each clock is compared with itself only, since no two of them agree: by ours the beat was new lately, and by
        the clock that stamps the beats it is not much older than the last one of anybody. The first tells that
        somebody fell silent, the second how old a beat was when we began to listen.
        """
        beat = self.beats.get(name)
        if beat is None or self._latest is None:
            return False
        return self._clock.now() - self._noticed[name] < DOWN_AFTER and self._latest - beat.time < DOWN_AFTER

    def state(self, name: str) -> str:
        """``up`` or ``down``; ``unknown`` where nobody can tell."""
        return "up" if self.alive(name) else "down"

    def host_seen(self, host: str) -> datetime | None:
        """When the host's agent was heard last."""
        return self.last_seen(f"compute/{host}")

    def host_up(self, host: str) -> bool:
        """Whether the host's agent was heard lately."""
        return self.alive(f"compute/{host}")

    def host_state(self, host: str) -> str:
        """The state of the host's agent."""
        return self.state(f"compute/{host}")


def _role(name: str) -> str:
    return name.partition("/")[0]


async def keep_beating(liveness: Liveness, clock: Clock, name: str, *facts: Mapping[str, object]) -> None:
    """Beat until cancelled, and tell ``facts`` as they are then."""
    while True:
        with suppress(Unavailable):
            await liveness.beat(name, {key: value for known in facts for key, value in known.items()})
        await clock.sleep(BEAT_SECONDS)
