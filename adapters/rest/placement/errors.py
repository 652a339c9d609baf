"""How Placement words an error: JSON after the API guidelines, HTML or text for a client that takes nothing else.

The explanations before the reason are those that its clients have always seen.
"""

import html
import re
from http import HTTPStatus
from typing import Any

import msgspec

from adapters.rest.kit.media_types import accepts
from adapters.rest.placement.negotiation import MAXIMUM, MINIMUM, version_of
from domain.errors import LightcurveError
from domain.placement.ledger.refusals import UNDEFINED

CODES_FROM = 23
"""The microversion that brought codes."""

EXPLANATIONS = {
    400: "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    401: "This server could not verify that you are authorized to access the document you requested. Either you "
    "supplied the wrong credentials (e.g., bad password), or your browser does not understand how to supply the "
    "credentials required.",
    403: "Access was denied to this resource.",
    404: "The resource could not be found.",
    409: "There was a conflict when trying to complete your request.",
    413: "The body of your request was too large for this server.",
    500: "The server has either erred or is incapable of performing the requested operation.",
    503: "The server is currently unavailable. Please try again at a later time.",
}
_TAG = re.compile(r"<.*?>", re.DOTALL)
_encode = msgspec.json.Encoder().encode


class Asked(msgspec.Struct, frozen=True):
    """What an error's answer depends on."""

    method: str
    accept: str
    content_type: str
    request_id: str
    minor: int | None
    """None if the microversion itself was the problem."""


def answer(error: LightcurveError, asked: Asked) -> tuple[str, bytes]:
    """The content type and the body."""
    title = HTTPStatus(error.status).phrase
    detail = _detail(error, asked)
    if not asked.accept or accepts(asked.accept, "application/json", before="text/html"):
        return "application/json", _encode({"errors": [_document(error, asked, title, detail)]})
    status = f"{error.status} {title}"
    if accepts(asked.accept, "text/html"):
        page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1>{html.escape(detail)}</body></html>"
        return "text/html; charset=UTF-8", page.encode()
    return "text/plain; charset=UTF-8", f"{status}\n\n{detail}".encode()


def _document(error: LightcurveError, asked: Asked, title: str, detail: str) -> dict[str, Any]:
    document: dict[str, Any] = {"status": error.status, "title": title, "detail": detail}
    if asked.minor is not None and asked.minor >= CODES_FROM:
        document["code"] = error.code if error.code.startswith("placement.") else UNDEFINED
    document["request_id"] = asked.request_id
    if error.status == 406 and asked.minor is None:
        document["max_version"] = version_of(MAXIMUM)
        document["min_version"] = version_of(MINIMUM)
    return document


def _detail(error: LightcurveError, asked: Asked) -> str:
    reason = _TAG.sub("", error.message.replace("\n", " ").replace("\r", ""))
    match error.status:
        case 405:
            return f"The method {asked.method} is not allowed for this resource. \n\n {reason}"
        case 406:
            return (
                "The resource could not be generated that was acceptable to your browser (content of type "
                f"{asked.accept or 'application/json'}. \n\n {reason}"
            )
        case 415:
            kind = asked.content_type or "None"
            return f"The request media type {kind} is not supported by this server. \n\n {reason}"
        case status:
            return f"{EXPLANATIONS.get(status, '')}\n\n {reason}  "
