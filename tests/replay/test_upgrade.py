"""A log that older code wrote is read as it was then: every answer is the same.

``upgrade/log.jsonl`` is the whole log of a stack with two simulated hosts, written by commit c6da705, the last before
actions were declared in rooms of their own; ``upgrade/answers.json`` is what its API answered at the end.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from adapters.mapper import Envelope, digest
from adapters.memory.broker import Entry
from domain.log.record import AggregateId
from tests.adapters.rest.world import World
from tests.aio import asynchronous

UPGRADE = Path(__file__).parent / "upgrade"
OLD = json.loads((UPGRADE / "answers.json").read_text())
OF_THE_MOMENT = "host_status"
"""Whether a host lives is not in the log."""


def _fill(world: World) -> None:
    for line in (UPGRADE / "log.jsonl").read_text().splitlines():
        kept = json.loads(line)
        cell, aggregate = world.broker.cell(kept["cell"]), AggregateId(kept["kind"], kept["id"])
        body = kept["body"].encode()
        cell.entries.append(Entry(aggregate, Envelope(kept["headers"], body, digest(kept["headers"], body))))
        cell.positions.setdefault(aggregate, []).append(len(cell.entries))


def _lasting(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: _lasting(value) for name, value in document.items() if name != OF_THE_MOMENT}
    return [_lasting(each) for each in document] if isinstance(document, list) else document


def _known_then(new: Any, old: Any) -> Any:
    """``new`` without what nobody knew then: the hosts of most steps of actions (ADR 71); and without what was said
    falsely: that ports are not held to their addresses."""
    if isinstance(old, dict) and isinstance(new, dict):
        unknown = ("host", "hostId") if "event" in old and old.get("host") == "" else ("port_security_enabled",)
        return {
            name: old.get(name) if name in unknown else _known_then(value, old.get(name))
            for name, value in new.items()
        }
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [_known_then(one, other) for one, other in zip(new, old, strict=True)]
    return new


@asynchronous
async def test_every_answer_is_what_it_was(tmp_path: Path) -> None:
    world = World(tmp_path, public_url=OLD["url"])
    _fill(world)
    await world.read()
    try:
        root = await world.client("root")
        for old in OLD["answers"]:
            path, _, query = old["path"].partition("?")
            client = root.at(f"2.{old['microversion']}" if old["microversion"] else "")
            answer = await client.get(path, **dict(parse_qsl(query)))
            assert answer.status == 200, (old["path"], answer)
            now = _known_then(answer.body, old["body"])
            assert _lasting(now) == _lasting(old["body"]), f"{old['path']} at {old['microversion']}"
    finally:
        await world.stop()
