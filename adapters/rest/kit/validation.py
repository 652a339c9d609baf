"""Request bodies: decoded and checked by msgspec, refused in Nova's words.

A body is a Struct with ``forbid_unknown_fields``. A field that exists only in some microversions says so
with ``Annotated[…, Versions(52)]``; at others it is refused as if it were unknown.
"""

import re
from ipaddress import ip_address
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from adapters.rest.kit import since
from domain.errors import Invalid
from domain.text import NOT_PRINTABLE

NAME_PATTERN = rf"^(?!\s)[^{NOT_PRINTABLE}]*(?<!\s)\Z"
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=NAME_PATTERN)]
"""A name as Nova has it: 1 to 255 printable characters, without white space at its ends."""

Text255 = Annotated[str, msgspec.Meta(max_length=255)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9\-_:. ]{1,255}\Z")]
Description = Annotated[str, msgspec.Meta(max_length=255, pattern=rf"^[^{NOT_PRINTABLE}]*\Z")]

Text64K = Annotated[str, msgspec.Meta(max_length=65535)]
Flag = bool | Text255
"""A yes or no, in a string perhaps; ``boolean`` reads it."""

MAX_INTEGER = 2**31 - 1
Integer = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Digits = Annotated[str, msgspec.Meta(min_length=1, max_length=10, pattern=r"^[0-9]+\Z")]
"""A number in a string: Nova takes both."""

StringMap = dict[Key, Text255]
"""Metadata and the like."""

UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")

MALFORMED = "Malformed request body"
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
"""What decoding raises: not JSON, not UTF-8, or a number that nothing can hold."""


SECRET_FIELDS = frozenset(("password", "original_password", "secret", "adminPass", "admin_pass"))


class Versions(NamedTuple):
    """The microversions in which a field exists."""

    first: int
    last: int | None = None


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """The base of request bodies."""


class _Rules(NamedTuple):
    """What ``check_versions`` has to look at in one Struct."""

    ranged: tuple[tuple[str, str, Versions], ...]
    """Field, its name on the wire, where it exists."""
    inner: tuple[str, ...]
    """Fields that are Structs, or lists of Structs, with rules of their own."""


_rules: dict[type, _Rules] = {}


def _rules_of(struct: type[msgspec.Struct]) -> _Rules:
    rules = _rules.get(struct)
    if rules is None:
        hints = get_type_hints(struct, include_extras=True)
        wire = dict(zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True))
        ranged = tuple(
            (field, wire[field], mark)
            for field in wire
            for mark in getattr(hints[field], "__metadata__", ())
            if isinstance(mark, Versions)
        )
        inner = tuple(field for field in wire if any(map(_has_rules, _structs_in(hints[field]))))
        rules = _rules[struct] = _Rules(ranged, inner)
    return rules


def _has_rules(struct: type[msgspec.Struct]) -> bool:
    rules = _rules_of(struct)
    return bool(rules.ranged or rules.inner)


def _structs_in(hint: Any) -> list[type[msgspec.Struct]]:
    if isinstance(hint, type) and get_origin(hint) is None:
        return [hint] if issubclass(hint, msgspec.Struct) else []
    return [found for part in get_args(hint) for found in _structs_in(part)]


class BodyType:
    """Decodes and checks one kind of body."""

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        self.struct = struct
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(struct)
        self._versioned = _has_rules(struct)

    def decode(self, raw: bytes, minor: int | None) -> Any:
        """The body; raises Invalid (400) in Nova's words."""
        try:
            body = self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise explain(error, raw) from None
        except UNREADABLE:
            raise Invalid(MALFORMED) from None
        if self._versioned and minor is not None:
            check_versions(body, minor)
        return body


def check_versions(body: msgspec.Struct, minor: int, name: str = "") -> None:
    """Refuse fields that do not exist at this microversion."""
    rules = _rules_of(type(body))
    for field, wire, (first, last) in rules.ranged:
        outside = minor < first or (last is not None and minor > last)
        if outside and getattr(body, field) is not msgspec.UNSET:
            raise _worded(name, msgspec.to_builtins(body), _unexpected(wire))
    for field in rules.inner:
        value = getattr(body, field)
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, msgspec.Struct):
                check_versions(part, minor, field)


def explain(error: msgspec.ValidationError, raw: bytes) -> Invalid:
    """msgspec's complaint in the words of Nova's."""
    complaint, _, path = str(error).partition(" - at `")
    try:
        document = msgspec.json.decode(raw)
    except UNREADABLE:
        return Invalid(MALFORMED)  # further behind it is not even JSON
    value, name = _find(_masked(document), path.rstrip("`"))
    return _complain(name, value, complaint)


def _masked(value: Any) -> Any:
    """A body without what must not be read in a refusal, which others log."""
    if isinstance(value, list):
        return [_masked(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        name: "***" if name in SECRET_FIELDS and not isinstance(part, dict | list) else _masked(part)
        for name, part in value.items()
    }


def check(name: str, value: str, kind: Any) -> str:
    """A value of the path as a type of msgspec's wants it; raises Invalid."""
    try:
        checked: str = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _complain(name, value, str(error)) from None
    return checked


def _complain(name: str, value: Any, complaint: str) -> Invalid:
    for pattern, words in _WORDS:
        match = re.match(pattern, complaint)
        if match:
            return _worded(name, value, words(value, *match.groups()))
    return _worded(name, value, complaint)


def _find(document: Any, path: str) -> tuple[Any, str]:
    """The value at msgspec's ``$.server.networks[0].uuid``, and the last part of its path.

    msgspec does not tell which key of a mapping it means (``[...]``): then the value is the whole mapping.
    """
    name = ""
    for key, index in re.findall(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]", path):
        if index == "...":
            break
        name = key or index
        document = document[int(index)] if index else document.get(key)
    return document, name


_JSON_NAMES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def _expected(value: Any, types: str) -> str:
    names = [_JSON_NAMES.get(name, name) for name in types.split(" | ")]
    return f"{value!r} is not of type {', '.join(repr(name) for name in names)}"


def _too(value: Any, _type: str, comparison: str, _limit: str) -> str:
    return f"{value!r} is too {'long' if comparison == '<=' else 'short'}"


def _bound(value: Any, _type: str, comparison: str, limit: str) -> str:
    bound = "minimum" if comparison.startswith(">") else "maximum"
    return f"{value!r} is {'less' if bound == 'minimum' else 'greater'} than the {bound} of {limit}"


def _pattern(value: Any, pattern: str) -> str:
    if pattern == repr(NAME_PATTERN):
        return (
            "An invalid 'name' value was provided. The name must be: printable characters. "
            "Can not start or end with whitespace."
        )
    return f"{value!r} does not match {pattern}"


def _unexpected(field: str) -> str:
    return f"Additional properties are not allowed ({field!r} was unexpected)"


_WORDS = (
    (r"Object contains unknown field `(.*)`", lambda _value, field: _unexpected(field)),
    (r"Object missing required field `(.*)`", lambda _value, field: f"{field!r} is a required property"),
    (r"Expected `(\w+)` of length (<=|>=) (\d+)", _too),
    (r"Expected `str` matching regex (.*)", _pattern),
    (r"Expected `(\w+)` (<=|>=|<|>) (.*)", _bound),
    (r"Expected `([^`]*)`", _expected),
    (r"Invalid enum value", lambda value: f"{value!r} is not one of the allowed values"),
)


def _worded(name: str, value: Any, detail: str) -> Invalid:
    if not name:
        return Invalid(detail)
    return Invalid(f"Invalid input for field/attribute {name}. Value: {value}. {detail}")


_TRUE, _FALSE = {"1", "t", "true", "on", "y", "yes"}, {"0", "f", "false", "off", "n", "no"}


def boolean(name: str, value: bool | str) -> bool:
    """A yes or no, in a string perhaps; raises Invalid."""
    if isinstance(value, bool):
        return value
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise _worded(name, value, f"{value!r} is not one of the allowed values")


def integer(name: str, value: int | str, *, least: int, most: int = MAX_INTEGER) -> int:
    """A number, in a string perhaps; raises Invalid outside the bounds."""
    number = int(value)
    if number < least:
        raise _worded(name, value, f"{number} is less than the minimum of {least}")
    if number > most:
        raise _worded(name, value, f"{number} is greater than the maximum of {most}")
    return number


def address(name: str, value: str, version: int | None = None) -> str:
    """An IP address, of that version if one is given; raises Invalid."""
    try:
        found = ip_address(value)
    except ValueError:
        raise _worded(name, value, f"{value!r} is not an IP address") from None
    if version not in (None, found.version):
        raise _worded(name, value, f"{value!r} is not a 'ipv{version}'")
    return value


_HOST_LABEL = re.compile("[a-zA-Z0-9][a-zA-Z0-9-]{0,61}[a-zA-Z0-9]")


def hostname(value: str, minor: int) -> str:
    """A guest's host name; a whole domain name only from 2.94 on. Raises Invalid."""
    if minor < since.FULL_HOSTNAME and _HOST_LABEL.fullmatch(value) is None:
        raise _worded("hostname", value, f"{value!r} does not match {_HOST_LABEL.pattern!r}")
    return value


def check_text(name: str, value: Any) -> str:
    """A text, where a body may hold anything; raises Invalid for something else."""
    if not isinstance(value, str):
        raise Invalid(f"Invalid input for field/attribute {name}. It is not of type 'string'")
    return value


def identifier(name: str, value: str) -> str:
    """A UUID; raises Invalid in Nova's words."""
    if UUID.fullmatch(value) is None:
        raise _worded(name, value, f"{value!r} is not a 'uuid'")
    return value
