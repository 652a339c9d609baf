"""What came of a request: a tree, out of the rows of the event log."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from projections.event_log import LogRow

Facts = dict[str, Any]
"""What an event says, by the names of its fields."""

TOLD = (
    "name", "host", "epoch", "ip_address", "allocations", "power_state", "vm_state", "fault", "reason", "downtime_ms",
    "policy",
)  # fmt: skip
"""The fields of events that a trace tells, as far as an event has them."""


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event, or one part of an event that holds several, and what was done before the next one of its branch."""

    event: str
    """Its type."""
    cell: str
    position: int
    event_id: str
    time: datetime
    after: float
    """Seconds since the step before it, or above it if it is the first there."""
    facts: Facts = {}
    steps: tuple["Step", ...] = ()


class Branch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened to one thing."""

    kind: str
    id: str
    steps: tuple[Step, ...]


class Trace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that one request has led to, in all cells."""

    request_id: str
    global_request_id: str | None = None
    user_id: str | None = None
    project_id: str | None = None
    began: datetime
    ended: datetime
    """The time of the last event."""
    branches: tuple[Branch, ...] = ()


def trace(rows: Iterable[LogRow], facts: dict[tuple[str, int, int], Facts]) -> Trace:
    """The tree of the events of one request (at least one), in the order of time. ``facts`` are those of events, by
    cell, position and part.

    A server's own events are a branch. What others hold for it (claims, addresses, quota) stands below the event of
    the server that came before it: with that it was done.
    """
    ordered = list(rows)
    whole = next((row for row in ordered if not row.part), ordered[0])
    spines: dict[tuple[str, str], list[tuple[LogRow, list[LogRow]]]] = {}
    servers = {row.server_id for row in ordered if row.kind == "server"}
    for row in ordered:
        own = row.kind == "server" or row.server_id not in servers
        key = (row.kind, row.aggregate_id) if own else ("server", row.server_id or "")
        spine = spines.setdefault(key, [])
        if own or not spine:
            spine.append((row, []))
        else:
            spine[-1][1].append(row)
    return Trace(
        request_id=whole.request_id,
        global_request_id=whole.global_request_id,
        user_id=whole.user_id,
        project_id=whole.project_id,
        began=ordered[0].time,
        ended=ordered[-1].time,
        branches=tuple(
            Branch(kind=kind, id=id_, steps=_steps(spine, spine[0][0].time, facts))
            for (kind, id_), spine in spines.items()
        ),
    )


def _steps(
    spine: list[tuple[LogRow, list[LogRow]]], before: datetime, facts: dict[tuple[str, int, int], Facts]
) -> tuple[Step, ...]:
    """``before`` is when what came before them was done."""
    steps = []
    for row, others in spine:
        below = _steps([(other, []) for other in others], row.time, facts)
        steps.append(_step(row, before, facts, below))
        before = row.time
    return tuple(steps)


def _step(row: LogRow, before: datetime, facts: dict[tuple[str, int, int], Facts], steps: tuple[Step, ...]) -> Step:
    return Step(
        event=row.type,
        cell=row.cell,
        position=row.position,
        event_id=row.event_id,
        time=row.time,
        after=(row.time - before).total_seconds(),
        facts=facts.get((row.cell, row.position, row.part), {}),
        steps=steps,
    )


def facts_of(event: msgspec.Struct, part: int) -> Facts:
    """What of an event, or of one part of it, a trace tells."""
    told: msgspec.Struct = event.changes[part - 1] if part else event  # type: ignore[attr-defined]
    body = msgspec.to_builtins(told)
    return {name: body[name] for name in TOLD if body.get(name) not in (None, "", [], {})}
