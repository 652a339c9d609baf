"""Whom the API waits for before it answers."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.mapper import EventMapper
from adapters.memory.store import MemoryEventStore
from domain.catalogue import flavor, quota
from domain.fleet import host
from domain.kinds import EVENTS
from domain.log.record import AggregateId
from domain.server.state import aggregate
from handlers.accepted import Accepted
from handlers.log.own_writes import AHEAD, OwnWrites
from handlers.log.registry import Registry
from ops.roles.api import Workers, projected
from tests.aio import asynchronous
from tests.cell import Cell


class Asked:
    """Everybody has read everything; who was asked is noted."""

    def __init__(self) -> None:
        self.questions: list[tuple[str, str, int]] = []

    async def reached(self, reader: str, cell: str, position: int, _timeout: float) -> bool:
        self.questions.append((reader, cell, position))
        return True


def workers(asked: Asked, count: int = 2) -> Workers:
    cell = Cell()
    api_store = MemoryEventStore(cell.broker, "api", EventMapper(EVENTS))
    settings = SimpleNamespace(api_cell="api", cell="cell1", api=SimpleNamespace(workers=count))
    plane: Any = SimpleNamespace(settings=settings, positions=asked)
    registry = Registry(api_store, cell.stamp, [flavor.KIND, quota.KIND])
    own_writes = OwnWrites(partial(projected, plane), lambda: "blue", lambda: False)
    return Workers(plane, registry, Registry(cell.store, cell.stamp, [host.KIND]), own_writes, "api-1")


@pytest.mark.parametrize(
    ("accepted", "waited_for"),
    [
        ([Accepted("cell1", aggregate("s"), 7)], [("projector", "cell1", 7)]),
        ([Accepted("cell2", aggregate("s"), 7)], [("projector", "cell2", 7)]),
        ([Accepted("cell1", host.aggregate("node1"), 8)], [("api-2", "cell1", 8), ("projector", "cell1", 8)]),
        ([Accepted("api", quota.aggregate("p"), 9)], [("api-2", "api", 9)]),
        ([Accepted("api", flavor.CATALOGUE, 0)], []),
        ([Accepted("cell1", aggregate(one), at) for one, at in (("a", 3), ("b", 5), ("c", 4))],
         [("projector", "cell1", 5)]),
        ([Accepted("cell1", AggregateId("server", "a"), 3), Accepted("cell2", AggregateId("server", "b"), 1)],
         [("projector", "cell1", 3), ("projector", "cell2", 1)]),
    ],
)  # fmt: skip
@asynchronous
async def test_an_answer_waits_for_the_readers_of_what_was_written(accepted: Any, waited_for: Any) -> None:
    asked = Asked()
    await workers(asked).settle(accepted)
    assert asked.questions == waited_for


@asynchronous
async def test_of_a_lone_process_the_next_question_waits_instead() -> None:
    asked = Asked()
    await workers(asked, 1).settle(
        [Accepted("cell1", aggregate("s"), AHEAD + 7), Accepted("cell1", aggregate("t"), 3)]
    )
    assert asked.questions == [("projector", "cell1", 7)]
