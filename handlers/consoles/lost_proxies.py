"""Closes the console sessions of proxies that are gone: one that was killed cannot record their ends.

A proxy's name is that of one start of it: what has fallen silent does not speak again under it, unless it was only
cut off, and then it ends what was closed here (see ``handlers.consoles.sessions``).
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from domain.errors import LightcurveError
from handlers.consoles.consoles import Consoles
from handlers.context import Stamp
from handlers.fleet.liveness import BEAT_SECONDS, DOWN_AFTER, LifeSigns

log = logging.getLogger(__name__)

DEAF_AFTER = timedelta(seconds=1.5 * BEAT_SECONDS)
"""Who has not heard itself for so long hears nobody."""


def life_sign(proxy: str) -> str:
    """The name under which a proxy gives its signs of life."""
    return f"console/{proxy}"


class OpenConsole(NamedTuple):
    """A session that is open, as far as the projection knows."""

    grant_id: str
    session_id: str


class OpenConsoles(Protocol):
    """What a conductor asks the projection of its cell's console sessions. Both raise Unavailable."""

    async def console_proxies(self) -> list[str]:
        """The proxies that have open sessions."""
        ...

    async def consoles_of(self, proxy: str) -> list[OpenConsole]:
        """The open sessions of a proxy."""
        ...


class Hearing:
    """How long others have been silent, by this process's clock alone, and only while it can hear."""

    def __init__(self, life: LifeSigns, stamp: Stamp, own: str) -> None:
        """``own`` is the name under which this process gives signs of life itself."""
        self._life = life
        self._clock = stamp.clock
        self._own = own
        self._last: dict[str, tuple[datetime | None, datetime]] = {}
        """By name: the last sign of life, and when it was noticed here."""
        self._asked = self._clock.now()

    def silent(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that were silent for DOWN_AFTER; to be asked again and again."""
        now = self._clock.now()
        self._last = {name: self._noticed(name, now) for name in (self._own, *names)}
        own = self._last[self._own]
        asked, self._asked = self._asked, now
        if now - min(own[1], asked) >= DEAF_AFTER:
            # What they said meanwhile may be lost: their time begins anew.
            self._last = {name: (sign, now) for name, (sign, _) in self._last.items()} | {self._own: own}
        return [
            name for name, (_, noticed) in self._last.items() if now - noticed >= DOWN_AFTER and name != self._own
        ]

    def _noticed(self, name: str, now: datetime) -> tuple[datetime | None, datetime]:
        sign = self._life.last_seen(name)
        known = self._last.get(name)
        return known if known and known[0] == sign else (sign, now)


class LostProxies:
    """Sees to it that no session stays open in the log of which nobody is left to tell. Several may run."""

    def __init__(
        self, open_consoles: OpenConsoles, grants: Consoles, life: LifeSigns, stamp: Stamp, own: str
    ) -> None:
        """``own`` is the name under which this process gives signs of life."""
        self._open = open_consoles
        self._grants = grants
        self._life = life
        self._stamp = stamp
        self._hearing = Hearing(life, stamp, own)
        self._settled: set[OpenConsole] = set()
        """Those that the projection may go on calling open for a while."""

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await self._stamp.clock.sleep(BEAT_SECONDS)
            try:
                await self.sweep()
            except LightcurveError as error:
                log.warning("console sessions of lost proxies are not closed yet: %s", error)

    async def sweep(self) -> None:
        """Close the sessions of those that were silent for too long."""
        proxies = {life_sign(proxy): proxy for proxy in await self._open.console_proxies()}
        silent = self._hearing.silent(proxies)
        if not silent:
            self._settled.clear()
        for name in silent:
            for session in await self._open.consoles_of(proxies[name]):
                if session not in self._settled:
                    await self._close(session, proxies[name])

    async def _close(self, session: OpenConsole, proxy: str) -> None:
        last_sign = self._life.last_seen(life_sign(proxy))
        context = self._stamp.own_context()
        if await self._grants.lose(context, session.grant_id, session.session_id, last_sign):
            log.warning("console session %s is closed: its proxy %s is gone", session.session_id, proxy)
        self._settled.add(session)
