"""What was ever stored can be read, and means what it meant."""

import json
from pathlib import Path

import msgspec
import pytest

from adapters.mapper import EventMapper
from domain.kinds import EVENTS
from domain.record import Event
from tests.replay.golden_files import GOLDEN, META, file_of, read, tag


@pytest.mark.parametrize("kind", EVENTS, ids=tag)
def test_every_event_type_has_a_sample_of_its_present_version(kind: type[Event]) -> None:
    assert file_of(kind).exists(), "run: python -m tests.replay"


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.json")), ids=lambda file: file.stem)
def test_a_sample_is_read_with_nothing_lost(file: Path) -> None:
    headers, body = read(file)
    recorded = EventMapper(EVENTS).decode(headers, json.dumps(body).encode(), position=1)
    assert recorded.meta == META
    assert json.loads(msgspec.json.encode(recorded.event)) == body
