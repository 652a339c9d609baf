"""How each face words an error: the status belongs to the error, the body to the face."""

import html
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec

from adapters.rest.kit.media_types import accepts
from domain.errors import Invalid, LightcurveError, Refused

JSON, HTML = "application/json", "text/html"
ErrorBody = Callable[[LightcurveError], dict[str, Any]]
ErrorPage = Callable[[LightcurveError, str], tuple[str, bytes]]
"""Of an error, and of what the caller accepts: the media type, and the bytes."""

NOVA_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
"""https://docs.openstack.org/api-guide/compute/faults.html; every other status is a computeFault."""

AUTHENTICATION_REQUIRED = "The request you have made requires authentication."


def unauthorized(message: str = AUTHENTICATION_REQUIRED) -> Refused:
    """No token, or one that is not valid."""
    return Refused("unauthorized", message, status=401)


def retry_after(error: LightcurveError) -> list[tuple[bytes, bytes]]:
    """The header that says when it makes sense to ask again, where that is known."""
    return [] if error.retry_after is None else [(b"retry-after", str(error.retry_after).encode())]


def no_route() -> Refused:
    """Nothing is served under that path."""
    return Refused("route.not_found", "The resource could not be found.", status=404)


def not_built(method: str, path: str) -> Refused:
    """Nothing can be changed under that path. A client takes 404 for "it is done already" when it removes something:
    what is not there yet, of an API that has more than is here, says so."""
    return not_implemented(f"{method} {path[:128]}")


def not_implemented(what: str) -> Refused:
    """Part of the API, but not of this system."""
    return Refused("not_implemented", f"{what} is not supported by this cloud.", status=501)


def nova(error: LightcurveError) -> dict[str, Any]:
    """``{"itemNotFound": {"code": 404, "message": …}}``."""
    if error.status == 401:
        return keystone(error)
    fault: dict[str, Any] = {"code": error.status, "message": error.message}
    if error.status in (413, 429):
        fault["retryAfter"] = "0"
    return {NOVA_NAMES.get(error.status, "computeFault"): fault}


def keystone(error: LightcurveError) -> dict[str, Any]:
    """``{"error": {"code": 404, "message": …, "title": "Not Found"}}``."""
    return {"error": {"code": error.status, "message": error.message, "title": _title(error.status)}}


def glance(error: LightcurveError) -> dict[str, Any]:
    """``{"message": …, "code": "404 Not Found", "title": "Not Found"}``: what webob makes of an exception
    for a client that takes JSON, and what openstacksdk reads."""
    if error.status == 401:
        return keystone(error)
    title = _title(error.status)
    return {"message": error.message, "code": f"{error.status} {title}", "title": title}


def in_json(words: ErrorBody) -> ErrorPage:
    """Always in JSON."""
    return lambda error, _accepted: (JSON, msgspec.json.encode(words(error)))


def glance_page(error: LightcurveError, accepted: str) -> tuple[str, bytes]:
    """In JSON for a client that prefers it, else a page, which is what glanceclient reads."""
    if error.status == 401 or accepts(accepted or "*/*", JSON, before=HTML):
        return JSON, msgspec.json.encode(glance(error))
    status = f"{error.status} {_title(error.status)}"
    page = (
        f"<html>\n <head>\n  <title>{status}</title>\n </head>\n <body>\n  <h1>{status}</h1>\n  "
        f"{html.escape(error.message)}<br /><br />\n\n\n </body>\n</html>"
    )
    return f"{HTML}; charset=UTF-8", page.encode()


def neutron(error: LightcurveError) -> dict[str, Any]:
    """``{"NeutronError": {"type": "NetworkNotFound", "message": …, "detail": ""}}``."""
    if error.status == 401:
        return keystone(error)
    if isinstance(error, Invalid):
        kind = "InvalidInput"
    else:
        kind = "".join(part.capitalize() for part in error.code.replace(".", "_").split("_"))
    return {"NeutronError": {"type": kind, "message": error.message, "detail": ""}}


def _title(status: int) -> str:
    return HTTPStatus(status).phrase
