"""``lightcurve trace``: everything that a request has led to."""

import sys
from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec

from domain.errors import Invalid
from ops.past import Past, events_of, in_words, written
from projections.event_log import LogRow
from projections.trace import Branch, Facts, Step, Trace, facts_of, trace

MOST_EVENTS = 10_000


async def show(past: Past, identity: str, *, as_json: bool) -> None:
    """Print the tree of each request that is meant by the id of a request, a global request, an event or a server, or
    by the name of a server. Raises Invalid if there is none."""
    await past.catch_up()
    named = await past.queries.servers_named(identity)
    requests = await past.queries.requests(named[0].id if named else identity)
    if not requests:
        raise Invalid(f"Nothing in the log came of {identity}.")
    for request_id in requests:
        rows = await past.queries.log(request_id=request_id, limit=MOST_EVENTS)
        told = trace(rows, await _facts(past, rows))
        if as_json:
            sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        else:
            async for line in _lines(past, told):
                print(line)


async def _facts(past: Past, rows: Sequence[LogRow]) -> dict[tuple[str, int, int], Facts]:
    events = await events_of(past, rows)
    return {
        (row.cell, row.position, row.part): facts_of(recorded.event, row.part)
        for row in rows
        if (recorded := events[row.cell, row.position])
    }


async def _lines(past: Past, told: Trace) -> AsyncIterator[str]:
    origin = f", part of {told.global_request_id}" if told.global_request_id else ""
    who = f"{past.names.user(told.user_id)} in {past.names.project(told.project_id)}"
    took = _length((told.ended - told.began).total_seconds())
    yield f"{told.request_id}{origin}\n{written(told.began)} by {who}: {took} to the last event"
    for branch in told.branches:
        last = branch is told.branches[-1]
        yield f"{'└─' if last else '├─'} {await _named(past, branch, told.request_id)}"
        for line in _steps(branch.steps):
            yield f"{'   ' if last else '│  '}{line}"


async def _named(past: Past, branch: Branch, request_id: str) -> str:
    if branch.kind != "server":
        return f"{branch.kind} {branch.id}"
    server = await past.queries.server(branch.id)
    action = await past.queries.action(branch.id, request_id)
    outcome = ""
    if action:
        outcome = f": {action.action}, {(action.message or 'Success') if action.finish_time else 'under way'}"
    return f"server {f'{server.name} ({branch.id})' if server else branch.id}{outcome}"


def _steps(steps: tuple[Step, ...]) -> Iterator[str]:
    for step in steps:
        last = step is steps[-1]
        yield (
            f"{'└─' if last else '├─'} +{_length(step.after)} {step.event} {step.cell}#{step.position}"
            f"{in_words(step.facts)}"
        )
        for line in _steps(step.steps):
            yield f"{'   ' if last else '│  '}{line}"


def _length(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"
