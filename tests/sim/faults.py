"""What goes wrong in a simulation, drawn from its seed."""

import asyncio
from random import Random

from domain.errors import Unavailable


class Weather:
    """How bad it is; shared by all processes of a world, and calmed at its end."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.stormy = True
        self.slow = random.choice((0.0, 0.005, 0.2, 2.0))
        """Seconds that an operation may take."""
        self.failing = random.choice((0.0, 0.02, 0.1))
        """The share of operations that fail before, and again after, they had their effect."""
        self.losing = random.choice((0.0, 0.05, 0.3))
        """The share of deliveries that are lost."""
        self.repeating = random.choice((0.0, 0.1))
        """The share of deliveries that come twice."""

    def calm(self) -> None:
        self.stormy = False


class ProcessFaults:
    """The Faults port for one process. Once the process is killed, nothing that it still does has any effect."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self.dead = False
        self.cut_off = False
        """It lives, and reaches nobody."""

    async def before(self, operation: str) -> None:
        await self._suffer()

    async def after(self, operation: str) -> None:
        await self._suffer()

    def copies(self, operation: str) -> int:
        weather = self._weather
        if self.dead or self.cut_off:
            return 0
        if not weather.stormy:
            return 1
        if weather.random.random() < weather.losing:
            return 0
        return 2 if weather.random.random() < weather.repeating else 1

    async def _suffer(self) -> None:
        weather = self._weather
        if self.dead:
            raise Unavailable("this process was killed")
        if self.cut_off:
            await asyncio.sleep(1.0)
            raise Unavailable("nobody answers")
        if weather.stormy:
            if weather.slow and weather.random.random() < 0.5:
                await asyncio.sleep(weather.random.random() * weather.slow)
            if weather.random.random() < weather.failing:
                raise Unavailable("the weather is bad")
        if self.dead:
            raise Unavailable("this process was killed")
