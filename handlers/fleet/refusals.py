"""What hosts have said wrongly, as one process has met it: refused, counted, and shown in its signs of life."""

import logging
from typing import NamedTuple

import msgspec

log = logging.getLogger(__name__)

SHOWN = 16
"""Hosts that are remembered; the one refused least makes room."""
REASON = 120
"""Characters of a reason that are kept."""
REFUSED = "refused"
"""The key among the facts of a sign of life."""


class Known(NamedTuple):
    """What is known of the refusals to one host."""

    times: int
    reason: str
    """The last one."""


class Refusals:
    """Counts by host. ``facts`` goes into the signs of life of this process, and is always current."""

    def __init__(self) -> None:
        self._by_host: dict[str, Known] = {}
        self.facts: dict[str, object] = {REFUSED: self._by_host}

    def count(self, host: str, reason: str) -> None:
        """Something that ``host`` said is not believed. The first, tenth, hundredth … time is logged: who floods us
        shall not fill our logs."""
        reason = reason[:REASON].encode("ascii", "replace").decode()
        known = self._by_host.get(host)
        if known is None and len(self._by_host) >= SHOWN:
            del self._by_host[min(self._by_host, key=lambda name: self._by_host[name].times)]
        times = known.times + 1 if known else 1
        self._by_host[host] = Known(times, reason)
        if str(times).strip("0") == "1":
            log.warning("host %s was refused (%d times): %s", host, times, reason)

    def of(self, host: str) -> int:
        """How often ``host`` was refused here."""
        known = self._by_host.get(host)
        return known.times if known else 0


def refused_by_host(facts: dict[str, object]) -> dict[str, Known]:
    """What the facts of a sign of life say of refusals; nothing, if they say it in words that are not ours."""
    try:
        return msgspec.convert(facts.get(REFUSED, {}), dict[str, Known])
    except msgspec.ValidationError:
        return {}
