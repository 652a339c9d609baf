"""What was ever stored can be read, and means what it meant."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.mapper import EventMapper
from domain.kinds import EVENTS, KINDS
from domain.log.kind import Kind, Unfoldable
from domain.log.record import Event, Unreadable
from domain.server import moves
from domain.server.creation import ServerBuilt, ServerPlaced
from domain.server.moves.all import MOVES
from domain.server.moves.cold import ServerMigrateRequested
from domain.server.moves.course import ServerTargetChosen
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


def _stored() -> dict[type[Event], Event]:
    mapper = EventMapper(EVENTS)
    samples = (read(file) for file in sorted(GOLDEN.glob("*.json")))
    recorded = [mapper.decode(headers, json.dumps(body).encode(), position=1) for headers, body in samples]
    return {type(each.event): each.event for each in recorded}


# What an event presupposes may be missing in a sample's state; that its type is known is what is asked here.
PRESUPPOSED = (KeyError, ValueError, AssertionError)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_each_fold_knows_each_event_of_its_kind_and_no_other(kind: Kind[Any]) -> None:
    stored = _stored()
    founded = None
    for event in kind.events:
        with suppress(*PRESUPPOSED):
            founded = kind.evolve(founded, stored[event], META)
    foreign = [event for event in stored.values() if type(event) not in kind.events]
    for event in (*foreign, Unreadable(type_name="future.event", reason="new")):
        for state in (None, founded):
            with pytest.raises((Unfoldable, *PRESUPPOSED)):
                kind.evolve(state, event, META)


def test_each_event_of_a_server_is_folded_onto_a_server_that_is_there() -> None:
    kind, stored = KINDS["server"], _stored()
    there = kind.evolve(None, stored[kind.events[0]], META)
    built = kind.evolve(kind.evolve(there, stored[ServerPlaced], META), stored[ServerBuilt], META)
    moving = kind.evolve(kind.evolve(built, stored[ServerMigrateRequested], META), stored[ServerTargetChosen], META)
    for event in kind.events:
        about_moves = event.__module__.startswith(moves.__name__)
        begins = event in [move.requested for move in MOVES]
        assert kind.evolve(built if begins else moving if about_moves else there, stored[event], META)
