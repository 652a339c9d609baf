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

    async def at(self, asked: str) -> "tuple[Moment, Callable[[], S_co]]":
        """The moment that is meant, and what the services were then; to be called again when more has been read.
        Raises Invalid for what is no moment or is still to come, and Unavailable."""
        ...

    async def read(self, missing: NotRead) -> None:
        """Read what they asked for. Raises Unavailable."""
        ...


async def ask(past: Past[S_co] | None, method: str, asked: str, answer: Callable[[S_co], Awaitable[Any]]) -> Any:
    """What ``answer`` says of the services as they were, and the moment. It may be called several times."""
    if past is None:
        raise Invalid("This API does not answer for the past.")
    if method != "GET":
        raise Invalid(f"Only what is read has a past: {method} cannot be asked as of a moment.")
    moment, services = await past.at(asked)
    while True:
        try:
            return await answer(services()), moment
        except NotRead as missing:
            await past.read(missing)
