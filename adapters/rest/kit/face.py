"""One API under one prefix: from the ASGI scope through an operation to the answer."""

import logging
import re
import traceback
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.rest.kit.as_of import AS_OF, POSITION, ask
from adapters.rest.kit.caller import Caller, Validator
from adapters.rest.kit.errors import JSON, ErrorPage, no_route, not_built, retry_after, unauthorized
from adapters.rest.kit.event_stream import EventStream
from adapters.rest.kit.gate import check_document, check_names, check_path, read_query
from adapters.rest.kit.limits import MAX_ANONYMOUS_BODY, MAX_BODY, receive_body
from adapters.rest.kit.microversion import Microversions
from adapters.rest.kit.operation import Access, Call, Operation, Reply
from adapters.rest.kit.policy import Policy, forbidden
from adapters.rest.kit.request_id import GLOBAL_REQUEST_ID, REQUEST_ID
from adapters.rest.kit.request_log import READS, looks, told
from adapters.rest.kit.routing import Match, Router
from adapters.rest.kit.services import Services
from adapters.rest.kit.turns import Turns
from adapters.rest.kit.validation import MALFORMED, UNREADABLE
from domain.errors import Invalid, LightcurveError, Refused
from domain.log.moment import Moment
from handlers.context import Context, current_owner, sees_all

log = logging.getLogger(__name__)

NO_QUERY = QueryParams()
SEE_ALL = {"admin", "auditor"}
"""Roles to which no policy need show others' things, and any may."""
MOMENT = "lightcurve.moment"
"""Key in the scope: the moment as of which it is asked."""
_PROJECT = re.compile(r"/([0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=/|$)")
_encoder = msgspec.json.Encoder()
_action_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Request(NamedTuple):
    """Who asks for what."""

    scope: Scope
    receive: Receive
    minor: int
    caller: Caller | None
    candidates: list[Operation]
    params: dict[str, str]
    url_project: str | None


class Face:
    """Serves the declared operations."""

    def __init__(
        self,
        operations: Iterable[Operation],
        *,
        services: Services,
        tokens: Validator,
        turns: Turns,
        error_page: ErrorPage,
        microversions: Microversions | None = None,
        past: bool = False,
        complete: bool = False,
    ) -> None:
        """``past`` is whether it answers for moments before, ``complete`` whether what has no route here is nowhere:
        else its API has more than is built. Paths may begin with a project's id where microversions are spoken."""
        self.operations = tuple(operations)
        self._router = Router(self.operations)
        self._services = services
        self._tokens = tokens
        self._turns = turns
        self._error_page = error_page
        self._complete = complete
        self._microversions = microversions
        self._past = past
        uri = f"{services.settings.public_url}/identity"
        self._challenge = [(b"www-authenticate", f'Keystone uri="{uri}"'.encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Answer one request; ``path`` is what is left of its path behind the prefix."""
        headers: list[tuple[bytes, bytes]] = self._microversions.headers(None) if self._microversions else []
        owner = ""
        try:
            minor, headers = self._negotiate(Headers(scope=scope))
            request = self._identify(scope, receive, path, minor)
            owner = _owner(request)
            current_owner.set(owner)
            sees_all.set(request.caller is not None and not SEE_ALL.isdisjoint(request.caller.roles))
            response = await self._turns.run(owner, self._answer(request))
        except LightcurveError as error:
            if error.status >= 500 and error.status != 501:
                log.warning("%s %s: %s", scope["method"], scope["path"], error.message)
            headers = headers + (self._challenge if error.status == 401 else []) + retry_after(error)
            response = self._failure(scope, error)
        except Exception as error:  # noqa: BLE001 - the last line: a bug must not take the worker along
            log.error("%s %s: %s", scope["method"], scope["path"], "".join(traceback.format_exception(error)))
            words = (
                "Unexpected API Error. Please report this with the request id "
                f"{scope.get(REQUEST_ID)}. {type(error).__name__}"
            )
            response = self._failure(scope, LightcurveError(words))
        if MOMENT in scope:
            headers = [*headers, (POSITION.encode(), str(scope[MOMENT]).encode())]
        response.raw_headers.extend(headers)
        if isinstance(response, EventStream):
            await self._turns.run(owner, response(scope, receive, send))
        else:
            await response(scope, receive, send)

    def _failure(self, scope: Scope, error: LightcurveError) -> Response:
        media_type, body = self._error_page(error, Headers(scope=scope).get("accept", ""))
        return Response(body, error.status, headers={"content-type": media_type})

    def _identify(self, scope: Scope, receive: Receive, path: str, minor: int) -> "_Request":
        """Who asks for what: token and route."""
        check_path(scope)
        url_project, path = _split_project(path) if self._microversions else (None, path)
        match = self._router.match(path)
        if match is None and self._complete:
            raise no_route()  # nothing is kept there from anybody
        method = _as_get(match, scope["method"])
        caller = None
        if not _is_public(match, method):
            caller = self._tokens.validate(Headers(scope=scope).get("x-auth-token"))
            told(scope, caller.user_id, caller.project_id)
        if match is None:
            raise no_route() if method in READS else not_built(method, scope["path"])
        return _Request(scope, receive, minor, caller, self._existing(match, method, minor), match[1], url_project)

    async def _answer(self, request: "_Request") -> Response:
        call, operation = await self._admit(request)
        asked = call.headers.get(AS_OF)
        if asked is None:
            response = _response(await operation.handler(call), operation.status)
        else:
            response = await self._answer_for_the_past(call, operation, asked)
        if request.scope["method"] != operation.method:
            response = Response(status_code=response.status_code)
        return response

    async def _answer_for_the_past(self, call: Call, operation: Operation, asked: str) -> Response:
        """Who may see what is now may see what was: access is today's."""

        async def answer(services: Services) -> Any:
            call.services = services
            return await operation.handler(call)

        past = self._services.past if self._past else None

        def found(moment: Moment) -> None:
            call.scope[MOMENT] = moment
            if call.is_admin:
                looks(call.scope, str(moment))

        body = await ask(past, call.scope["method"], asked, answer, found)
        return _response(body, operation.status)

    def _revalidated(self, scope: Scope) -> Caller | None:
        return self._tokens.validate(Headers(scope=scope).get("x-auth-token"))

    async def _admit(self, request: "_Request") -> tuple[Call, Operation]:
        """Everything else that comes before the handler: access, then the body."""
        scope, caller = request.scope, request.caller
        operation = request.candidates[0]
        raw: bytes | None = None
        action: bytes | None = None
        if operation.action:
            raw = await self._read(request)
            operation, action = _choose_action(request.candidates, raw)
        call = Call(
            services=self._services,
            context=_context(scope, caller),
            scope=scope,
            receive=request.receive,
            params=request.params,
            minor=request.minor,
            query=read_query(scope["query_string"]) if scope["query_string"] else NO_QUERY,
            caller=caller,
            revalidate=partial(self._revalidated, scope),
        )
        _check_access(self._services.policy, operation, caller)
        check_names(operation.method, operation.path, call.params)
        _check_project(call, request.url_project)
        _check_query(operation, call)
        if operation.body_type is not None:
            _check_media_type(call.headers)
            call.body = operation.body_type.decode(await self._read(request) if raw is None else raw, request.minor)
        elif action not in (None, b"null", b"{}"):
            _check_nothing(operation, action)
        return call, operation

    async def _read(self, request: "_Request") -> bytes:
        """The body. What it may cost to look at it is found out first."""
        project_id = request.caller.project_id if request.caller else None
        largest = MAX_BODY if request.caller else MAX_ANONYMOUS_BODY
        raw = await receive_body(request.scope, request.receive, largest)
        self._services.limits.large_bodies.take(project_id, raw)
        check_document(raw)
        return raw

    def _negotiate(self, request_headers: Headers) -> tuple[int, list[tuple[bytes, bytes]]]:
        spoken = self._microversions
        if spoken is None:
            return 0, []
        legacy = request_headers.get(spoken.legacy_header) if spoken.legacy_header else None
        minor = spoken.negotiate(request_headers.get("openstack-api-version"), legacy)
        return minor, spoken.headers(minor)

    def _existing(self, match: Match, method: str, minor: int) -> list[Operation]:
        by_method, _ = match
        declared = by_method.get(method)
        if declared is None:
            names = ", ".join(sorted(by_method))
            raise Refused("method.not_allowed", f"The method {method} is not allowed here; {names} are.", status=405)
        if self._microversions is None:
            return declared
        existing = [operation for operation in declared if operation.serves(minor)]
        if not existing:
            words = f"API version {self._microversions.named(minor)} is not supported on this method."
            raise Refused("microversion.not_here", words, status=404)
        return existing


def _owner(request: _Request) -> str:
    """For whom the work is done: a project, or an address where there is no token."""
    if request.caller is None:
        client = request.scope.get("client")
        return str(client[0]) if client else ""
    return request.caller.project_id or request.caller.user_id


def _as_get(match: Match | None, method: str) -> str:
    """What anybody may GET, anybody may knock at: HEAD and OPTIONS are answered as GET is, without the body."""
    if method in ("HEAD", "OPTIONS") and match and method not in match[0] and _is_public(match, "GET"):
        return "GET"
    return method


def _is_public(match: Match | None, method: str) -> bool:
    declared = match[0].get(method) if match else None
    return declared is not None and all(operation.access is Access.PUBLIC for operation in declared)


def _split_project(path: str) -> tuple[str | None, str]:
    """The project id, if the path begins with one, and the rest."""
    found = _PROJECT.match(path)
    return (found[1], path[found.end() :]) if found else (None, path)


def _choose_action(candidates: list[Operation], raw: bytes) -> tuple[Operation, bytes]:
    try:
        body = _action_decoder.decode(raw)
    except UNREADABLE:
        raise Invalid(MALFORMED) from None
    if len(body) != 1:
        raise Invalid(MALFORMED)
    ((action, argument),) = body.items()
    for operation in candidates:
        if operation.action == action:
            return operation, bytes(argument)
    raise Invalid(f"There is no such action: {action}")


def _check_nothing(operation: Operation, argument: bytes | None) -> None:
    try:
        value = msgspec.json.decode(argument or b"null")
    except UNREADABLE:
        raise Invalid(MALFORMED) from None
    raise Invalid(
        f"Invalid input for field/attribute {operation.action}. Value: {value}. {value!r} is not of type 'null'"
    )


def _context(scope: Scope, caller: Caller | None) -> Context:
    return Context(
        request_id=scope[REQUEST_ID],
        global_request_id=scope.get(GLOBAL_REQUEST_ID),
        user_id=caller.user_id if caller else None,
        project_id=caller.project_id if caller else None,
        roles=caller.roles if caller else (),
    )


def _check_access(policy: Policy, operation: Operation, caller: Caller | None) -> None:
    if caller is None:
        if operation.access is not Access.PUBLIC:
            raise unauthorized()
    elif not policy.allows(caller, operation.rule, operation.access.value):
        raise forbidden(operation.rule)


def _check_project(call: Call, named: str | None) -> None:
    """The project in ``/v2.1/{project_id}/…`` must be the token's."""
    if named and call.context.project_id != named:
        raise Invalid(
            f"Malformed request URL: URL's project_id '{named}' doesn't match Context's project_id "
            f"'{call.context.project_id}'"
        )


def _check_query(operation: Operation, call: Call) -> None:
    if operation.query is None or call.minor < operation.query_strict_from:
        return
    for name in call.query:
        if name not in operation.query:
            raise Invalid(
                f"Invalid input for query parameters {name}. Value: {call.query[name]}. "
                f"Additional properties are not allowed ({name!r} was unexpected)"
            )


def _check_media_type(request_headers: Headers) -> None:
    kind = request_headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if not (kind == JSON or kind.endswith("+json") or "json" in kind):
        raise Refused("media_type", "Unsupported Content-Type", status=415)


def _response(answer: Any, status: int) -> Response:
    if isinstance(answer, Response):
        return answer
    extra: dict[str, str] = {}
    if isinstance(answer, Reply):
        status = answer.status or status
        extra = answer.headers
        answer = answer.body
    if answer is None:
        return Response(status_code=status, headers=extra)
    return Response(_encoder.encode(answer), status, headers=extra, media_type=JSON)
