"""Lists: filtered, sorted, and cut into pages. The newest comes first, unless it is wanted otherwise."""

import ast
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol, TypeVar

from adapters.rest.kit.operation import Call
from adapters.rest.kit.paging import MAX_PAGE, flag, page_limit
from adapters.rest.kit.words import words
from adapters.rest.volume import links
from adapters.rest.volume import microversion as since
from adapters.rest.volume.access import all_usable
from domain.errors import Invalid
from domain.neighbours.volume.state import Storage

CONTROLS = words("all_tenants limit offset marker sort sort_key sort_dir with_count project_id")
MAX_LITERAL = 2000
"""Characters of a mapping in a query string."""
MAX_DIGITS = 10


class Thing(Protocol):
    """What can be listed."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Any)
Matches = Callable[[T, str], bool]
Document = dict[str, Any]


def projects(call: Call) -> Iterator[Storage]:
    """Whose things are asked for: the caller's project's; with ``all_tenants`` an administrator's are everybody's."""
    everybody = flag(call.query, "all_tenants") and call.is_admin
    wanted = call.query.get("project_id") if call.is_admin else None
    for project_id, known in all_usable(call):
        if (everybody or wanted or project_id == call.context.project_id) and wanted in (None, project_id):
            yield known


def newest_first(collections: Iterable[dict[str, T]]) -> Iterator[T]:
    """All things of several projects, each of which has its oldest first; no more are looked at than are wanted."""
    lists = [map(each.__getitem__, reversed(each)) for each in collections if each]
    if len(lists) == 1:
        return lists[0]
    return heapq.merge(*lists, key=lambda thing: (thing.created_at, thing.id), reverse=True)


def page(
    call: Call,
    found: Iterator[T],
    filters: Mapping[str, Matches[T]],
    sort_keys: Mapping[str, Callable[[T], Any]],
) -> tuple[list[T], bool, int | None]:
    """The page that is asked for, whether more follow, and how many there are, if that is asked. Raises Invalid."""
    for name, value in call.query.multi_items():
        if name not in CONTROLS:
            found = _only(found, filters, name, value, call)
    found = _sorted(call, found, sort_keys)
    count = None
    if call.minor >= since.COUNTS and flag(call.query, "with_count"):
        every = list(found)
        count, found = len(every), iter(every)
    asked = page_limit(call.query)
    limit = MAX_PAGE if asked is None else min(asked, MAX_PAGE)
    _skip(call, found)
    cut = list(islice(found, limit + 1))
    return cut[:limit], len(cut) > limit > 0, count


def answer(call: Call, noun: str, path: str, documents: list[Document], *, more: bool, count: int | None) -> Document:
    """A page as it is answered."""
    shown: Document = {noun: documents}
    if more:
        shown[f"{noun}_links"] = links.following(call, path, documents[-1]["id"])
    if count is not None:
        shown["count"] = count
    return shown


def _only(found: Iterator[T], filters: Mapping[str, Matches[T]], name: str, value: str, call: Call) -> Iterator[T]:
    like = name.endswith("~") and call.minor >= since.LIKE_FILTER
    if like and name[:-1] in ("name", "display_name"):
        return (thing for thing in found if value in (thing.name or ""))
    matches = filters.get(name)
    if matches is None:
        raise Invalid(f"Invalid filters {name} are found in query options.")
    return (thing for thing in found if matches(thing, value))


def _sorted(call: Call, found: Iterator[T], keys: Mapping[str, Callable[[T], Any]]) -> Iterator[T]:
    pairs = [part.partition(":")[::2] for part in call.query.get("sort", "").split(",") if part]
    if not pairs and "sort_key" in call.query:
        pairs = [(call.query["sort_key"], call.query.get("sort_dir", ""))]
    if not pairs:
        return found
    every = list(found)
    for key, direction in reversed(pairs):
        if key not in keys or direction not in ("", "asc", "desc"):
            raise Invalid(f"Invalid input received: Invalid sort key or direction: {key}:{direction}")
        value = keys[key]
        every.sort(key=lambda thing: ((has := value(thing)) is not None, has or ""), reverse=direction != "asc")
    return iter(every)


def _skip(call: Call, found: Iterator[Any]) -> None:
    marker = call.query.get("marker")
    if marker is not None and not any(thing.id == marker for thing in found):
        raise Invalid(f"marker [{marker}] not found")
    offset = call.query.get("offset", "0")
    if not (offset.isdecimal() and len(offset) <= MAX_DIGITS):
        raise Invalid(f"Invalid input received: offset must be a number, not {offset[:64]!r}")
    next(islice(found, int(offset), int(offset)), None)


def has_all(has: Mapping[str, str], asked: str) -> bool:
    """Whether a mapping has all that another one has, which is written as in Python. Raises Invalid."""
    try:
        wanted = ast.literal_eval(asked) if len(asked) <= MAX_LITERAL else None
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        wanted = None
    if not isinstance(wanted, dict):
        raise Invalid(f"Invalid input received: {asked[:64]!r} is no mapping")
    return all(has.get(str(name)) == str(value) for name, value in wanted.items())


def equals(name: str) -> Matches[Any]:
    """The filter for exactly this value of a field."""
    return lambda thing, value: str(getattr(thing, name)) == value


def says(name: str) -> Matches[Any]:
    """The filter for a yes or no."""
    return lambda thing, value: str(getattr(thing, name)).lower() == value.lower()
