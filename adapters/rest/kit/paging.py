"""Pages: their limit and marker in a query string, and cutting them from what lies in memory."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from starlette.datastructures import QueryParams

from domain.errors import Invalid

MAX_PAGE = 1000
"""Things in one page at the most, as Nova's max_limit."""

_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)

T = TypeVar("T")


def page_limit(query: QueryParams) -> int | None:
    """The limit asked for, None if there is none; raises Invalid for one that is not a number."""
    text = query.get("limit")
    if text is None:
        return None
    if _DIGITS.fullmatch(text) is None:
        shown = text[:64]
        raise Invalid(
            f"Invalid input for query parameters limit. Value: {shown}. {shown!r} does not match '^[0-9]*$'"
        )
    return int(text)


def page_offset(query: QueryParams) -> int:
    """How many are passed over; raises Invalid for what is not a number."""
    text = query.get("offset", "0")
    if _DIGITS.fullmatch(text) is None:
        shown = text[:64]
        raise Invalid(
            f"Invalid input for query parameters offset. Value: {shown}. {shown!r} does not match '^[0-9]*$'"
        )
    return int(text)


def cut(things: Sequence[T], query: QueryParams, identity: Callable[[T], str]) -> tuple[list[T], bool]:
    """The page after the marker, and whether more follow it; a page of nothing leads nowhere."""
    start = 0
    marker = query.get("marker")
    if marker is not None:
        place = next((index for index, thing in enumerate(things) if identity(thing) == marker), None)
        if place is None:
            raise Invalid(f"marker [{marker}] not found")
        start = place + 1
    asked = page_limit(query)
    limit = MAX_PAGE if asked is None else min(asked, MAX_PAGE)
    return list(things[start : start + limit]), 0 < limit < len(things) - start


TRUE, FALSE = {"1", "t", "true", "on", "y", "yes"}, {"0", "f", "false", "off", "n", "no"}


def flag(query: QueryParams, name: str) -> bool | None:
    """A yes or no in a query string; None if it is not there. Raises Invalid for anything else."""
    text = query.get(name)
    if text is None:
        return None
    if text.lower() in TRUE or text == "":
        return True
    if text.lower() in FALSE:
        return False
    raise Invalid(f"Invalid input for query parameters {name}. Value: {text}. {text!r} is not a boolean")
