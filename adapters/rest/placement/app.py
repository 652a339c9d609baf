"""The Placement API at the root of its own port: from the ASGI scope through an operation to the answer.

The order in which a request is looked at is Placement's: who calls, which microversion, is there such a path, method
and version, the media types, the policy, and then the rest.
"""

import logging
import traceback
from collections.abc import Mapping
from email.utils import formatdate

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.rest.kit.as_of import AS_OF, POSITION, Past, ask
from adapters.rest.kit.errors import retry_after
from adapters.rest.kit.gate import check_names, check_path
from adapters.rest.kit.media_types import accepts
from adapters.rest.kit.request_id import GLOBAL_REQUEST_ID, REQUEST_ID, RequestIds
from adapters.rest.kit.request_log import RequestLog, looks, told
from adapters.rest.placement import (
    aggregates,
    allocations,
    candidates,
    errors,
    inventories,
    providers,
    reshaper,
    resource_classes,
    root,
    traits,
    usages,
)
from adapters.rest.placement.access import Actor, Authenticator
from adapters.rest.placement.cross_origin import CrossOrigin
from adapters.rest.placement.negotiation import HEADER, SERVICE, negotiate, version_of
from adapters.rest.placement.operation import CACHED_FROM, JSON, Call, Operation, Reply, Routes, query_pairs
from adapters.rest.placement.policy import Policy
from domain.errors import LightcurveError, Refused
from domain.log.moment import Moment
from domain.placement.ledger.refusals import bad
from domain.text import is_one_line
from handlers.context import Context
from handlers.placement import Placement
from handlers.ports import Clock, Ids

log = logging.getLogger(__name__)

MODULES = (
    root, providers, inventories, aggregates, traits, resource_classes, allocations, usages, candidates, reshaper,
)  # fmt: skip
NOBODY = Actor("", None, frozenset())
_encoder = msgspec.json.Encoder()

Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]


def operations() -> list[Operation]:
    return [operation for module in MODULES for operation in module.operations]


class PlacementFace:
    """Serves the declared operations."""

    def __init__(
        self,
        placement: Placement,
        authenticate: Authenticator,
        policy: Policy,
        ids: Ids,
        clock: Clock,
        past: Past[Placement] | None = None,
    ) -> None:
        self._placement = placement
        self._past = past
        self._authenticate = authenticate
        self._policy = policy
        self._ids = ids
        self._clock = clock
        self._routes = Routes(iter(operations()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"nothing here speaks {scope['type']}")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        status, answer_headers, body = await self._answer(scope, receive, headers)
        if status != 204:
            answer_headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": answer_headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, headers: Mapping[str, str]) -> Answer:
        minor: int | None = None
        extra: Headers = []
        try:
            actor = NOBODY if scope["path"] in ("", "/") else self._authenticate(headers)
            told(scope, actor.user_id or None, actor.project_id)
            minor = negotiate(headers.get(HEADER))
            extra = [
                (HEADER.encode(), f"{SERVICE} {version_of(minor)}".encode()),
                (b"vary", HEADER.encode()),
            ]
            check_path(scope)
            operation, params = self._operation(scope, headers, minor, extra)
            check_names(operation.method, operation.path, params, is_one_line)
            call = self._call(scope, receive, headers, actor, minor, params)
            if operation.rule:
                self._policy.check(actor, call.query, operation.policy, operation.rule)
            reply = await self._ask(operation, call, extra)
            status, own, body = self._reply(reply, call)
            return status, own + extra, body
        except LightcurveError as error:
            if error.status >= 500:
                log.warning("%s %s: %s", scope["method"], scope["path"], error.message)
            failure = error
        except Exception as error:  # noqa: BLE001 - the last line: a bug must not take the worker along
            log.error("%s %s: %s", scope["method"], scope["path"], "".join(traceback.format_exception(error)))
            failure = LightcurveError(f"Unexpected error. The request id is {scope[REQUEST_ID]}.")
        status, own, body = _failure(scope, headers, failure, minor)
        return status, own + extra, body

    async def _ask(self, operation: Operation, call: Call, extra: Headers) -> Reply:
        """The answer as of now, or as of the moment that the caller names."""
        asked = call.headers.get(AS_OF)
        if asked is None:
            return await operation.handler(call)

        async def answer(placement: Placement) -> Reply:
            call.placement = placement
            return await operation.handler(call)

        def found(moment: Moment) -> None:
            looks(call.scope, str(moment))
            extra.append((POSITION.encode(), str(moment).encode()))

        reply: Reply = await ask(self._past, operation.method, asked, answer, found)
        return reply

    def _operation(
        self, scope: Scope, headers: Mapping[str, str], minor: int, extra: Headers
    ) -> tuple[Operation, dict[str, str]]:
        length = headers.get("content-length", "")
        if length and not (length.isascii() and length.isdigit()):
            raise bad("content-length header must be an integer")
        if length.strip("0") and not headers.get("content-type"):
            raise bad("content-type header required when content-length > 0")
        found = self._routes.match(scope["path"] or "/")
        if found is None:
            raise _nothing(404)
        methods, params = found
        declared = methods.get(scope["method"])
        if declared is None:
            extra.append((b"allow", ", ".join(methods).encode()))
            raise Refused("method.not_allowed", "The method specified is not allowed for this resource.", status=405)
        for operation in declared:
            if operation.first <= minor <= operation.last:
                _check_media(operation, headers)
                return operation, params
        raise _nothing(declared[0].status_elsewhere)

    def _call(
        self,
        scope: Scope,
        receive: Receive,
        headers: Mapping[str, str],
        actor: Actor,
        minor: int,
        params: dict[str, str],
    ) -> Call:
        context = Context(
            request_id=scope[REQUEST_ID],
            global_request_id=scope.get(GLOBAL_REQUEST_ID),
            user_id=actor.user_id or None,
            project_id=actor.project_id,
            roles=tuple(sorted(actor.roles)),
        )
        return Call(
            placement=self._placement,
            ids=self._ids,
            context=context,
            actor=actor,
            minor=minor,
            params=params,
            headers=headers,
            scope=scope,
            receive=receive,
            pairs=query_pairs(scope),
        )

    def _reply(self, reply: Reply, call: Call) -> Answer:
        headers: Headers = []
        body = b""
        if reply.body is not None:
            body = _encoder.encode(reply.body)
            headers.append((b"content-type", JSON.encode()))
        if reply.location is not None:
            origin = f"{call.scope['scheme']}://{call.headers.get('host', '')}"
            headers.append((b"location", f"{origin}{reply.location}".encode()))
        if reply.dated and call.minor >= CACHED_FROM:
            headers.append((b"last-modified", formatdate(self._clock.now().timestamp(), usegmt=True).encode()))
            headers.append((b"cache-control", b"no-cache"))
        return reply.status, headers, body


def _nothing(status: int) -> Refused:
    return Refused("route.not_found", "", status=status)


def _check_media(operation: Operation, headers: Mapping[str, str]) -> None:
    if operation.takes is not None:
        kind = headers.get("content-type", "").partition(";")[0].strip()
        if kind != operation.takes:
            raise Refused(
                "media_type",
                f"The media type {kind or None} is not supported, use {operation.takes}",
                status=415,
            )
    accept = headers.get("accept")
    if operation.gives is not None and accept and not accepts(accept, operation.gives):
        raise Refused("not_acceptable", f"Only {operation.gives} is provided", status=406)


def _failure(scope: Scope, headers: Mapping[str, str], error: LightcurveError, minor: int | None) -> Answer:
    accept = headers.get("accept", "")
    asked = errors.Asked(
        method=scope["method"],
        accept="" if accept == "*/*" else accept,
        content_type=headers.get("content-type", ""),
        request_id=scope[REQUEST_ID],
        minor=minor,
    )
    content_type, body = errors.answer(error, asked)
    own = [(b"content-type", content_type.encode()), *retry_after(error)]
    if error.status == 401:
        own.append((b"www-authenticate", b"Keystone"))
    return error.status, own, body


def create_app(
    placement: Placement,
    authenticate: Authenticator,
    ids: Ids,
    clock: Clock,
    policy: Policy | None = None,
    origins: tuple[str, ...] = (),
    past: Past[Placement] | None = None,
) -> ASGIApp:
    """The ASGI application, with the default policy unless another is given; pages of ``origins`` may call it."""
    face = PlacementFace(placement, authenticate, policy or Policy(), ids, clock, past)
    app: ASGIApp = RequestIds(RequestLog(face), ids)
    return CrossOrigin(app, origins) if origins else app
