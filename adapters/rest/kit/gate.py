"""The one gate for what a request brings: its path, its query string, and its body if that is JSON.

What passes here every later stage can hold: text is UTF-8 without NUL, numbers are of a size that can be computed
with, documents are not so deep that reading or writing them ends the stack. Shapes are checked behind it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
import numpy as np
from starlette.datastructures import QueryParams
from starlette.types import Scope

from domain import text
from domain.errors import Invalid, Refused

MAX_DEPTH = 64
"""Levels of a JSON document; no API here has more than ten of its own."""
MAX_PARAMETERS = 1000
"""Of a query string; a page of 1,000 ids has as many."""

_STEPS = bytes.maketrans(b"[]{}", bytes([1, 255, 1, 255]))
"""Down a level, or up again, as signed bytes."""
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def check_document(raw: bytes) -> None:
    """Raise Invalid for a document that some later stage cannot hold. What is no JSON is left to its decoder."""
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(raw)
    if b"\\u0000" in raw.replace(b"\\\\", b""):
        _refuse_nul(raw)


def _check_depth(raw: bytes) -> None:
    """How many brackets are open at the most, counted at once and not character by character.

    Where brackets do not match it is no JSON, but its decoder goes down before it notices: so far it counts, too.
    """
    outside = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    brackets = np.frombuffer(b"".join(outside).translate(_STEPS, _OTHERS), np.int8)
    if brackets.size and np.cumsum(brackets, dtype=np.int32).max() > MAX_DEPTH:
        raise Invalid(f"The request body is too deep: a document has at most {MAX_DEPTH} levels.")


def _refuse_nul(raw: bytes) -> None:
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    field = _field_with_nul("", document)
    if field is not None:
        where = f" for field/attribute {field}" if field else ""
        raise Invalid(f"Invalid input{where}. The character NUL (\\u0000) is not allowed.")


def _field_with_nul(name: str, value: Any) -> str | None:
    """The field whose text, or whose own name, has a NUL in it."""
    if isinstance(value, str):
        return name if "\0" in value else None
    parts: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        if any("\0" in key for key in value):
            return name
        parts = value.items()
    elif isinstance(value, list):
        parts = ((name, each) for each in value)
    for key, part in parts:
        if (found := _field_with_nul(key, part)) is not None:
            return found
    return None


def check_path(scope: Scope) -> None:
    """Raise Invalid for a path that is not UTF-8: what was decoded of it is not what was asked."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%" not in raw:
        return
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise Invalid("Malformed request URL: its path is not UTF-8.") from None


def check_names(
    method: str, path: str, names: Mapping[str, str], can_be_a_name: Callable[[str], bool] = text.can_be_a_name
) -> None:
    """The parameters in a path. Nothing can be called by what is no name: it is not there (404), and where a PUT
    would call something so, that is refused (400)."""
    for name, value in names.items():
        if can_be_a_name(value):
            continue
        if method == "PUT" and path.endswith(f"{{{name}}}"):
            raise Invalid(
                f"Invalid input for field/attribute {name}. It must have at most {text.MAX_NAME} characters, none of "
                "them a control character."
            )
        raise Refused("route.not_found", "The resource could not be found.", status=404)


def read_query(query_string: bytes) -> QueryParams:
    """The query string. Raises Invalid, naming the parameter that no later stage could hold."""
    try:
        unquote_to_bytes(query_string).decode()
    except UnicodeDecodeError:
        raise Invalid("Invalid query string: it is not UTF-8.") from None
    if query_string.count(b"&") >= MAX_PARAMETERS:
        raise Invalid(f"Invalid query string: it has more than {MAX_PARAMETERS} parameters.")
    query = QueryParams(query_string)
    for name, value in query.multi_items():
        if not (text.is_digestible(name) and text.is_digestible(value)):
            shown = name.replace("\0", "\\0")
            raise Invalid(f"Invalid input for query parameters {shown}. The character NUL is not allowed.")
    return query
