"""An operation of an API, declared once: from it come routing, validation, access and the listing."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.types import Receive, Scope

from adapters.rest.kit import since
from adapters.rest.kit.caller import Caller
from adapters.rest.kit.policy import forbidden
from adapters.rest.kit.services import Services
from adapters.rest.kit.validation import BodyType
from handlers.accepted import Accepted
from handlers.context import Context


class Access(Enum):
    """Who may call an operation: its default policy. Admin implies member implies reader."""

    PUBLIC = "anybody, without a token"
    TOKEN = "@"  # noqa: S105 - not a password
    """Anybody with a valid token, of whatever scope."""
    READER = "rule:project_reader_or_admin"
    MEMBER = "rule:project_member_or_admin"
    ADMIN = "rule:context_is_admin"
    AUDITED = "rule:project_reader_or_admin or role:auditor"
    """Whoever may read, and auditors, who may do nothing else."""
    AUDITOR = "role:auditor or rule:context_is_admin"


class Rule(NamedTuple):
    """A policy, and its default where the operator's file says nothing."""

    name: str
    default: Access
    about: str = ""


@dataclass(slots=True)
class Call:
    """One request on its way through an operation."""

    services: Services
    context: Context
    scope: Scope
    receive: Receive
    params: dict[str, str]
    """From the path."""
    minor: int
    """The microversion: the number behind ``2.``, or ``3.`` for volumes; 0 on a face that has none."""
    query: QueryParams
    caller: Caller | None = None
    body: Any = None
    revalidate: Callable[[], Caller | None] = lambda: None
    """Whom the token speaks for by now; raises Refused (401) once it is no good any more."""

    @property
    def headers(self) -> Headers:
        return Headers(scope=self.scope)

    @property
    def is_admin(self) -> bool:
        """Whether the caller may act on everybody's things."""
        return self.context.is_admin

    def may(self, rule: Rule, **target: str) -> bool:
        """Whether the caller may do what the rule is about; see Policy.allows."""
        return self.services.policy.allows(self.identified, rule.name, rule.default.value, **target)

    def require(self, rule: Rule, **target: str) -> None:
        """Raise Refused (403) unless the caller may do what the rule is about."""
        if not self.may(rule, **target):
            raise forbidden(rule.name)

    async def settle(self, *accepted: Accepted) -> None:
        """Wait until the next request can see what has come of this one, wherever it is answered."""
        await self.services.settle(accepted)

    @property
    def identified(self) -> Caller:
        """The caller of an operation that needs a token."""
        assert self.caller is not None
        return self.caller


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer other than the operation's usual status with a JSON body."""

    body: Any = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Awaitable[Any]]
"""Returns what is to be encoded as JSON, a Reply, or a Starlette response; None is an empty body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path (or one action of ``POST …/action``), in a range of microversions."""

    method: str
    path: str
    """As ``/servers/{server_id}``."""
    handler: Handler
    access: Access
    rule: str
    """The name of its policy, as the refusal names it."""
    status: int = 200
    action: str | None = None
    """The key in the body that names the action."""
    body_type: BodyType | None = None
    streamed: bool = False
    """The handler reads the body itself, however long it is."""
    query: frozenset[str] | None = None
    """The parameters it knows; None if it takes any."""
    query_strict_from: int = since.STRICT
    """From this microversion on, a parameter it does not know is refused."""
    first: int = 0
    last: int | None = None

    def serves(self, minor: int) -> bool:
        """Whether it exists at a microversion."""
        return minor >= self.first and (self.last is None or minor <= self.last)

    @property
    def name(self) -> str:
        """For people: method, path and action."""
        return f"{self.method} {self.path}{f' {self.action}' if self.action else ''}"


class Operations:
    """The operations that a module declares."""

    def __init__(self) -> None:
        self._declared: list[Operation] = []

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._declared)

    def __call__(
        self,
        method: str,
        path: str,
        access: Access,
        rule: str,
        *,
        body: type[msgspec.Struct] | None = None,
        **more: Any,
    ) -> Callable[[Handler], Handler]:
        """Declare the decorated function as the handler; ``more`` are further fields of Operation."""

        def declare(handler: Handler) -> Handler:
            body_type = BodyType(body) if body else None
            self._declared.append(
                Operation(
                    method=method, path=path, handler=handler, access=access, rule=rule, body_type=body_type, **more
                )
            )
            return handler

        return declare


def empty(status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(status_code=status, headers=headers)
