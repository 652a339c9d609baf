"""Golden samples: an event as it was stored by the version that introduced it, which every later one must read."""

import json
from pathlib import Path
from typing import Any

from adapters.mapper import EventMapper
from domain.kinds import EVENTS
from domain.log.record import GENESIS, AggregateId, Event, Metadata
from tests.replay.samples import TIME, sample_event

GOLDEN = Path(__file__).parent / "golden"
META = Metadata(
    event_id="event-1",
    time=TIME,
    request_id="req-1",
    user_id="user",
    project_id="project",
    global_request_id="req-2",
    causation_id="event-0",
)


def tag(kind: type[Event]) -> str:
    return str(kind.__struct_config__.tag)


def file_of(kind: type[Event]) -> Path:
    return GOLDEN / f"{tag(kind)}.v{kind.schema_version}.json"


def write(kind: type[Event]) -> None:
    aggregate = AggregateId(tag(kind).split(".")[0], "id")
    envelope = EventMapper(EVENTS).encode("cell1", aggregate, sample_event(kind), META, GENESIS)
    stored = {"headers": envelope.headers, "body": json.loads(envelope.body)}
    file_of(kind).write_text(json.dumps(stored, indent=2) + "\n")


def read(file: Path) -> tuple[dict[str, str], dict[str, Any]]:
    stored = json.loads(file.read_text())
    return stored["headers"], stored["body"]
