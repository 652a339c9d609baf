"""An operation of the Placement API, declared once: from it come routing, microversions and the policy."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

from adapters.rest.kit.gate import MAX_PARAMETERS
from adapters.rest.kit.limits import read_body
from adapters.rest.placement.access import Actor
from adapters.rest.placement.negotiation import MAXIMUM
from adapters.rest.placement.policy import ADMIN_OR_SERVICE
from adapters.rest.placement.schemas import Since
from domain.placement.ledger.refusals import bad
from domain.text import is_digestible
from handlers.context import Context
from handlers.placement import Placement
from handlers.ports import Ids

JSON = "application/json"
CACHED_FROM = 15
"""The microversion that brought Last-Modified and Cache-Control."""


@dataclass(slots=True, frozen=True)
class Reply:
    """An answer. ``dated`` ones say from CACHED_FROM on that they were true just now."""

    body: Any = None
    status: int = 200
    location: str | None = None
    dated: bool = True


@dataclass(slots=True)
class Call:
    """One request on its way through an operation."""

    placement: Placement
    ids: Ids
    context: Context
    actor: Actor
    minor: int
    params: dict[str, str]
    headers: Mapping[str, str]
    scope: Scope
    receive: Receive
    pairs: list[tuple[str, str]] = field(default_factory=list)
    """The query string, in order; a key can come more than once."""

    @property
    def query(self) -> dict[str, str]:
        """The query string; the last of several values of a key."""
        return dict(self.pairs)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    async def body(self, schema: Since) -> Any:
        """The decoded and validated body. Raises Refused (400)."""
        return schema(self.minor).body(await read_body(self.scope, self.receive))


def query_pairs(scope: Scope) -> list[tuple[str, str]]:
    """The decoded query string. Raises Refused (400)."""
    raw: bytes = scope["query_string"]
    if not raw:
        return []
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except (UnicodeDecodeError, ValueError) as error:
        raise bad(f"Invalid query string parameters: {error}") from None
    for name, value in pairs:
        if not (is_digestible(name) and is_digestible(value)):
            raise bad(f"Invalid query string parameters: the character NUL is not allowed in {name!r}")
    return pairs


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path, in a range of microversions."""

    method: str
    path: str
    handler: Handler
    policy: str
    rule: str = ADMIN_OR_SERVICE
    """The default rule of its policy; an empty one is for everybody."""
    first: int = 0
    last: int = MAXIMUM
    status_elsewhere: int = 404
    """For a microversion that has it not."""
    takes: str | None = None
    """The media type that the body must be declared as."""
    gives: str | None = None
    """The media type that the caller must accept."""


class Operations:
    """The operations that a module declares."""

    def __init__(self) -> None:
        self._declared: list[Operation] = []

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._declared)

    def __call__(self, method: str, path: str, policy: str, **more: Any) -> Callable[[Handler], Handler]:
        """Declare the decorated function as the handler. What reads gives JSON, and what sends a body takes it."""
        if method in ("PUT", "POST"):
            more.setdefault("takes", JSON)
        elif method == "GET":
            more.setdefault("gives", JSON)

        def declare(handler: Handler) -> Handler:
            self._declared.append(Operation(method=method, path=path, handler=handler, policy=policy, **more))
            return handler

        return declare


class Routes:
    """From a path to what is declared there."""

    def __init__(self, operations: Iterator[Operation]) -> None:
        self._operations = list(operations)

    @cached_property
    def _by_shape(self) -> dict[tuple[int, tuple[str | None, ...]], tuple[dict[str, list[Operation]], list[str]]]:
        table: dict[tuple[int, tuple[str | None, ...]], tuple[dict[str, list[Operation]], list[str]]] = {}
        for operation in self._operations:
            segments = operation.path.split("/")[1:]
            shape = tuple(None if segment.startswith("{") else segment for segment in segments)
            names = [segment.strip("{}") for segment in segments if segment.startswith("{")]
            methods, _ = table.setdefault((len(segments), shape), ({}, names))
            methods.setdefault(operation.method, []).append(operation)
        return table

    def match(self, path: str) -> tuple[dict[str, list[Operation]], dict[str, str]] | None:
        """The operations by method, and the parameters in the path."""
        segments = path.split("/")[1:]
        if not all(segments) and segments != [""]:
            return None
        # In every path here the parameters are the second and the fourth segment.
        shape = tuple(None if number % 2 else segment for number, segment in enumerate(segments))
        found = self._by_shape.get((len(segments), shape))
        if found is None:
            return None
        methods, names = found
        return methods, dict(zip(names, segments[1::2], strict=True))
