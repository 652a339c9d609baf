"""A sample of any event type, made from its fields."""

import enum
import types
import typing
from datetime import UTC, datetime
from typing import Any

import msgspec

from domain.log.record import Event

TIME = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def sample(kind: Any, name: str = "value") -> Any:
    """A value of a type; every optional field is filled, so that the sample shows all of them."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return sample(next(argument for argument in arguments if argument is not type(None)), name)
    if origin is tuple:
        members = typing.get_args(arguments[0])
        kinds = members if typing.get_origin(arguments[0]) in (typing.Union, types.UnionType) else arguments[:1]
        return tuple(sample(member, name) for member in kinds)
    if origin is typing.Literal:
        return arguments[0]
    if origin is dict:
        return {f"{name}-key": sample(arguments[1], name)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return list(kind)[1]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        fields = msgspec.structs.fields(kind)
        return kind(**{field.name: sample(hints[field.name], field.name) for field in fields})
    plain: dict[Any, Any] = {
        str: name,
        bytes: name.encode(),
        object: name,
        int: 7,
        float: 1.5,
        bool: True,
        datetime: TIME,
    }
    return plain[kind]


def sample_event(kind: type[Event]) -> Event:
    """A sample of an event type."""
    event: Event = sample(kind)
    return event
