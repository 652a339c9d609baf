"""JSON schemas: a quick check made once from each, and the full message of a refusal only where one is due."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import jsonschema
import msgspec

from domain.placement.ledger.refusals import bad

Schema = dict[str, Any]
Check = Callable[[Any], bool]

_decoder = msgspec.json.Decoder()
_formats = jsonschema.FormatChecker()
_query_formats = jsonschema.FormatChecker()
_NOT_HEX = re.compile("urn:|uuid:|[{}-]")


def is_uuid_like(value: object) -> bool:
    """Whether a value is a UUID in any of its usual ways of writing."""
    if not isinstance(value, str):
        return False
    try:
        return UUID(value).hex == _NOT_HEX.sub("", value.lower())
    except ValueError:
        return False


_formats.checks("uuid")(is_uuid_like)

_TYPES: dict[str, Check] = {
    "object": lambda value: type(value) is dict,
    "array": lambda value: type(value) is list,
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
    "number": lambda value: type(value) in (int, float),
    "null": lambda value: value is None,
}


class Validator:
    """One schema, ready to be checked against."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._check = _compile(schema)

    def body(self, raw: bytes) -> Any:
        """The decoded body. Raises Refused (400) if it is no JSON or not what the schema says."""
        try:
            value = _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise bad(f"Malformed JSON: {error}") from None
        if not self._check(value):
            self._refuse(value, "JSON does not validate", _formats)
        return value

    def query(self, parameters: Mapping[str, str]) -> None:
        """Raises Refused (400) if the query parameters are not what the schema says."""
        if not self._check(parameters):
            self._refuse(dict(parameters), "Invalid query string parameters", _query_formats)

    def _refuse(self, value: Any, words: str, formats: jsonschema.FormatChecker) -> None:
        try:
            jsonschema.validate(value, self.schema, format_checker=formats)
        except jsonschema.ValidationError as error:
            raise bad(f"{words}: {error}") from None


def _compile(schema: Schema) -> Check:
    checks: list[Check] = []
    kinds = schema.get("type", [])
    types = [_TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    if len(types) == 1:
        checks.append(types[0])
    elif types:
        checks.append(lambda value: any(check(value) for check in types))
    if "anyOf" in schema:
        ways = [_compile(way) for way in schema["anyOf"]]
        checks.append(lambda value: any(check(value) for check in ways))
    if "enum" in schema:
        checks.append(lambda value: value in schema["enum"])
    checks += [*_text_checks(schema), *_number_checks(schema), *_array_checks(schema)]
    if not {"properties", "patternProperties", "required", "minProperties"}.isdisjoint(schema):
        checks.append(_object_check(schema))
    if len(checks) == 1:
        return checks[0]
    return lambda value: all(check(value) for check in checks)


def _text_checks(schema: Schema) -> list[Check]:
    checks: list[Check] = []
    longest, shortest = schema.get("maxLength"), schema.get("minLength", 0)
    if longest is not None or shortest:
        checks.append(
            lambda value: (
                type(value) is not str or (shortest <= len(value) and (longest is None or len(value) <= longest))
            )
        )
    if "pattern" in schema:
        pattern = re.compile(schema["pattern"])
        checks.append(lambda value: type(value) is not str or pattern.search(value) is not None)
    if schema.get("format") == "uuid":
        checks.append(lambda value: type(value) is not str or is_uuid_like(value))
    return checks


def _number_checks(schema: Schema) -> list[Check]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return []
    return [
        lambda value: (
            type(value) not in (int, float) or ((low is None or value >= low) and (high is None or value <= high))
        )
    ]


def _array_checks(schema: Schema) -> list[Check]:
    checks: list[Check] = []
    if "items" in schema:
        item = _compile(schema["items"])
        checks.append(lambda value: type(value) is not list or all(map(item, value)))
    if "minItems" in schema:
        fewest = schema["minItems"]
        checks.append(lambda value: type(value) is not list or len(value) >= fewest)
    if schema.get("uniqueItems"):
        checks.append(lambda value: type(value) is not list or _unique(value))
    return checks


def _unique(values: list[Any]) -> bool:
    try:
        return len(set(values)) == len(values)
    except TypeError:
        return all(value not in values[:number] for number, value in enumerate(values))


def _object_check(schema: Schema) -> Check:
    properties = {name: _compile(inner) for name, inner in schema.get("properties", {}).items()}
    patterns = [(re.compile(name), _compile(inner)) for name, inner in schema.get("patternProperties", {}).items()]
    required = schema.get("required", [])
    fewest = schema.get("minProperties", 0)
    closed = schema.get("additionalProperties") is False

    def check(value: Any) -> bool:
        if type(value) is not dict:
            return True
        if len(value) < fewest or any(name not in value for name in required):
            return False
        for name, inner in value.items():
            known = name in properties
            if known and not properties[name](inner):
                return False
            for pattern, inner_check in patterns:
                if pattern.search(name):
                    known = True
                    if not inner_check(inner):
                        return False
            if closed and not known:
                return False
        return True

    return check
