"""How many new servers are accepted: no more than can be built in time.

A backlog that grows without an end helps nobody: what waits too long fails, and what is accepted behind it waits
longer still. The conductors tell in their signs of life how many servers are under way, whose they are, and how fast
they are done; what was accepted here since then is added. A project with more than its share is refused first.
"""

from collections import Counter
from typing import Any

from domain.errors import Unavailable
from handlers.fleet.liveness import LifeSigns
from handlers.ports import Beat

CONDUCTOR = "conductor"
MIN_OPEN = 5_000
"""Servers under way that are always borne; before anything was measured there is no better figure."""
OPEN_SECONDS = 30.0
"""And beyond that, what the conductors finish in so long a time."""
CROWDED = 0.75
"""The part of the bound from which on a project with more than its share is refused."""
RETRY_AFTER = 5
"""Seconds: the next sign of life tells more."""


class Busy(Unavailable):
    """Too much is under way; it makes sense to ask again after ``retry_after`` seconds."""

    code = "busy"
    retry_after = RETRY_AFTER


class Admission:
    """Lets requests for servers in, or not."""

    def __init__(self, life: LifeSigns) -> None:
        self._life = life
        self._beat: Beat | None = None
        self._since: Counter[str] = Counter()
        """Accepted here since that sign of life, by project."""

    def check(self, project_id: str, count: int) -> None:
        """``count`` more servers of a project are asked for. Raises Busy (503)."""
        load = self._load()
        mine_told = load.get("open_by_project")
        told: dict[str, int] = mine_told if isinstance(mine_told, dict) else {}
        bound = max(MIN_OPEN, _number(load, "rate") * OPEN_SECONDS)
        under_way = _number(load, "open") + self._since.total() + count
        mine = _number(told, project_id) + self._since[project_id] + count
        projects = len({*told, *self._since, project_id} - {""})
        crowded = projects > 1 and mine > bound / projects
        if under_way > bound * (CROWDED if crowded else 1.0):
            raise Busy("The cloud has more servers to build than it can build in time. Please try again later.")

    def accepted(self, project_id: str, count: int) -> None:
        """So many were accepted. What is refused for another reason does not count: else whoever is refused again and
        again would keep the others out."""
        self._since[project_id] += count

    def _load(self) -> dict[str, Any]:
        """What the conductors told last. Each follows the whole cell, so the newest word is the best."""
        newest = max(self._life.of_role(CONDUCTOR), key=lambda beat: beat.time, default=None)
        if newest is not self._beat:
            self._beat, self._since = newest, Counter()
        return dict(newest.facts) if newest else {}


def _number(facts: dict[str, Any], name: str) -> float:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
