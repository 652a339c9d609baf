"""Deciding anew: whether today's rules allow what was recorded, event by event, on the state that came before.

What no log tells is believed: who somebody was and what he might do, which hosts lived, what a host saw, what limits
projects had that were given none of their own (they are given). Where a server goes is asked by ``whatif``; here it
only counts that there was room.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec.structs import asdict

from domain.catalogue.quota import Limits
from domain.errors import LightcurveError
from domain.kinds import KINDS
from domain.log.kind import advance
from domain.log.record import AggregateId, Event, Recorded, Unreadable
from domain.placement.ledger import Ledger
from domain.redecision import catalogue, console, identity, neighbours, server
from domain.redecision.ledger import LedgerRun
from domain.redecision.rules import Batch, Rule, batch_decided

RULES: dict[type[Event], Rule] = server.RULES | console.RULES | catalogue.RULES | neighbours.RULES | identity.RULES
BATCHES: dict[str, Batch] = catalogue.BATCHES | neighbours.BATCHES
"""By the kind whose events hold several changes; the ledger's are looked at request by request."""


class Difference(NamedTuple):
    """A recorded event that today's rules would not have recorded so."""

    recorded: Recorded
    instead: str
    """In words."""


class Redecision:
    """One going through the logs, each in its own order."""

    def __init__(self, limits: Limits) -> None:
        """``limits`` are those of projects that were given none of their own."""
        self.decided = 0
        self.passed_over = 0
        """Events that could not be judged: behind a hole that a recovery told of, or of an aggregate whose events
        cannot be read or do not fit together (which is a difference, once)."""
        self._limits = limits
        self._states: dict[tuple[str, AggregateId], Any] = {}
        self._lost: set[tuple[str, AggregateId]] = set()

    def take(self, recorded: Recorded) -> list[Difference]:
        """Go through one event; what differs, if anything does."""
        key = (recorded.cell, recorded.aggregate)
        if key in self._lost or recorded.bridges or isinstance(recorded.event, Unreadable):
            return self._pass_over(recorded)
        self.decided += 1
        state = self._states.get(key)
        kind = KINDS[recorded.aggregate.kind]
        differences: list[str] = []
        try:
            if hasattr(recorded.event, "changes"):
                state = self._states[key] = _begun(recorded.aggregate.kind) if state is None else state
                self._changes(recorded.aggregate.kind, state, recorded.event.changes, differences)
            else:
                differences += self._one(recorded, state)
                self._states[key] = kind.evolve(state, recorded.event, recorded.meta)
        except Exception as error:  # noqa: BLE001 - whatever an impossible history breaks, it is a finding
            self._lost.add(key)
            differences = differences or [f"it does not follow from what came before: {_words(error)}"]
        return [Difference(recorded, instead) for instead in differences]

    def _pass_over(self, recorded: Recorded) -> list[Difference]:
        self.passed_over += 1
        key = (recorded.cell, recorded.aggregate)
        if isinstance(recorded.event, Unreadable):
            self._lost.add(key)
        if key not in self._lost:
            self._states[key] = advance(KINDS[recorded.aggregate.kind], self._states.get(key), recorded)
        return []

    def _one(self, recorded: Recorded, state: Any) -> list[str]:
        event = recorded.event
        try:
            decided = RULES[type(event)](state, event, recorded.meta)
        except LightcurveError as error:
            return [f"refused: {error.message}"]
        return [] if decided == event else [_otherwise(event, decided)]

    def _changes(self, kind: str, state: Any, changes: Sequence[Any], differences: list[str]) -> None:
        """Make them, and tell what differs, also if one of them cannot be made."""
        if kind == LedgerRun.KIND:
            LedgerRun(state, differences).take(changes)
        else:
            batch_decided(BATCHES[kind], state, changes, self._limits, differences)


def _begun(kind: str) -> Any:
    """The state of what nothing has happened to, where that is one."""
    batching = KINDS[kind].batching
    return Ledger() if kind == LedgerRun.KIND else batching and batching.initial and batching.initial()


def _otherwise(event: Event, decided: Event | None) -> str:
    if decided is None:
        return "nothing: there was nothing to record"
    if type(decided) is not type(event):
        return f"{decided.__struct_config__.tag}"
    was, now = asdict(event), asdict(decided)
    fields = [name for name in was if was[name] != now[name]]
    return ", ".join(f"{name}={now[name]!r} instead of {was[name]!r}" for name in fields)


def _words(error: Exception) -> str:
    return error.message if isinstance(error, LightcurveError) else f"{type(error).__name__}: {error}"
