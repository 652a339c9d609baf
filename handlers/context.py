"""Who asks, on which request: carried from the outside into every event, command and log line."""

import contextvars

import msgspec

from domain.log.record import Metadata
from domain.server.parts import UnderWay
from handlers.ports import Clock, Ids


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a change. A process that acts by itself has no user."""

    request_id: str
    """``req-<uuid>``; the one that the caller sees."""
    global_request_id: str | None = None
    user_id: str | None = None
    project_id: str | None = None
    roles: tuple[str, ...] = ()
    causation_id: str | None = None
    """The event that led to this change, if one did."""

    @property
    def is_admin(self) -> bool:
        """Whether the caller may act on everybody's things."""
        return "admin" in self.roles


def on_behalf_of(action: UnderWay) -> Context:
    """The origin of what is done for an action under way: the request that asked for it."""
    return Context(
        request_id=action.request_id,
        global_request_id=action.global_request_id,
        user_id=action.user_id,
        project_id=action.project_id,
    )


current_request: contextvars.ContextVar[str] = contextvars.ContextVar("current_request", default="-")
"""The request id for the log lines of the task at work."""


current_owner: contextvars.ContextVar[str] = contextvars.ContextVar("current_owner", default="")
"""For whom the task at work works: who shares what there is with others has their part, and no more."""


sees_all: contextvars.ContextVar[bool] = contextvars.ContextVar("sees_all", default=False)
"""Whether the task at work is shown what others have, too."""


class Stamp:
    """Makes the metadata of events: new id, present time, the context's origin."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self.clock = clock
        self.ids = ids

    def __call__(self, context: Context) -> Metadata:
        """The metadata of one new event."""
        return Metadata(
            event_id=self.ids.uuid(),
            time=self.clock.now(),
            request_id=context.request_id,
            global_request_id=context.global_request_id,
            user_id=context.user_id,
            project_id=context.project_id,
            causation_id=context.causation_id,
        )

    def own_context(self) -> Context:
        """A context for what a process does by itself."""
        return Context(request_id=f"req-{self.ids.uuid()}")
