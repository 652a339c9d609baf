"""What somebody wants of the events: which ones, between which moments, and what he may see of them."""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from adapters.rest.audit.rights import ALL_PROJECTS, sees_all
from adapters.rest.kit.operation import Call
from adapters.rest.kit.policy import forbidden
from domain.errors import Invalid
from domain.log.moment import Moment
from domain.log.record import Recorded
from handlers.together import together
from projections.event_log import LogRow

FILTERS = ("type", "server_id", "project_id", "user_id", "request_id")
AT_ONCE = 64
"""Events that are asked for at a time."""


class Page(NamedTuple):
    """Some events in their order, and where the next ones begin."""

    events: list[Recorded]
    rows: list[LogRow]
    more: bool


class Question(NamedTuple):
    """Which events; ``everything`` is whether also what only operators know."""

    wanted: dict[str, str]
    everything: bool

    async def page(self, call: Call, after: Moment, until: Moment, limit: int) -> Page:
        """The first events behind one moment and up to another. Raises Unavailable."""
        rows = await call.services.audit.events.page(
            self.wanted, after, until, limit + 1, whole_only=not self.everything
        )
        events: list[Recorded] = []
        waiting = iter(rows[:limit])
        while some := list(islice(waiting, AT_ONCE)):
            found = await together(*(call.services.audit.event_at(row.cell, row.position) for row in some))
            events += [recorded for recorded in found if recorded is not None]
        return Page(events, rows[:limit], len(rows) > limit)


def question(call: Call) -> Question:
    """What is asked. Raises Refused (403) for what others have asked for, unless the caller may see it."""
    everything = sees_all(call)
    wanted = {name: call.query[name] for name in FILTERS if name in call.query}
    if not everything and wanted.setdefault("project_id", call.context.project_id or "") != call.context.project_id:
        raise forbidden(ALL_PROJECTS.name)
    return Question(wanted, everything)


def end_of(after: Moment, rows: Sequence[LogRow], until: Moment) -> Moment:
    """Where somebody has got to who has read these: the logs before that of the last one are through."""
    return place(after, rows[-1].cell, rows[-1].position, until)


def place(after: Moment, at: str, position: int, until: Moment) -> Moment:
    """The moment of who has read all events between two moments up to that one, log by log."""
    return Moment.of(
        {cell: position if cell == at else end if cell < at else after[cell] for cell, end in until.positions}
    )


async def moment(call: Call, asked: str) -> Moment:
    """Raises Invalid for what is no moment, and Unavailable."""
    if call.services.past is None:
        raise Invalid("There is no log here.")
    return await call.services.past.find(asked)
