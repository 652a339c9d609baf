"""Questions as of a moment: the same operations, over what the services were then."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from domain.errors import Invalid
from domain.log.moment import Moment
from handlers.past import NotRead

AS_OF = "lightcurve-as-of"
"""The header that names a moment: a time, what POSITION said of an earlier answer, or ``now``."""
POSITION = "lightcurve-position"
"""The header of an answer that names the moment it is of."""

S_co = TypeVar("S_co", covariant=True)


class Past(Protocol[S_co]):
    """Where the past can be asked."""

    async def find(self, asked: str) -> Moment:
        """The moment that is meant. Raises Invalid for what is no moment or is still to come, and Unavailable."""
        ...

    async def at(self, moment: Moment) -> "Callable[[], S_co]":
        """What the services were then; to be called again when more has been read. Raises Unavailable."""
        ...

    async def read(self, missing: NotRead) -> None:
        """Read what they asked for. Raises Unavailable."""
        ...


async def ask(
    past: Past[S_co] | None,
    method: str,
    asked: str,
    answer: Callable[[S_co], Awaitable[Any]],
    found: Callable[[Moment], None],
) -> Any:
    """What ``answer`` says of the services as they were; it may be called several times. ``found`` is told the moment
    before, so that a refusal names it, too."""
    if past is None:
        raise Invalid("This API does not answer for the past.")
    if method != "GET":
        raise Invalid(f"Only what is read has a past: {method} cannot be asked as of a moment.")
    moment = await past.find(asked)
    found(moment)
    services = await past.at(moment)
    while True:
        try:
            return await answer(services())
        except NotRead as missing:
            await past.read(missing)
