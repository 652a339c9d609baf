"""Every field of every body has an end: text a greatest length, numbers a least and a greatest value."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from adapters.rest.app import create_faces
from tests.adapters.rest.conftest import MakeWorld
from tests.aio import asynchronous


def unbounded(kind: inspect.Type, path: str, seen: frozenset[Any] = frozenset()) -> Iterator[str]:
    """The paths of the fields without an end."""
    match kind:
        case inspect.StrType(max_length=None):
            yield f"{path}: text without a greatest length"
        case inspect.StrType(pattern=str(pattern)) if pattern.endswith("$"):
            yield f"{path}: a pattern that a line break at the end passes"
        case inspect.IntType(ge=low, le=high) if low is None or high is None:
            yield f"{path}: a number without bounds"
        case inspect.Metadata(type=inner):
            yield from unbounded(inner, path, seen)
        case inspect.UnionType(types=kinds):
            for each in kinds:
                yield from unbounded(each, path, seen)
        case inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner):
            yield from unbounded(inner, f"{path}[]", seen)
        case inspect.DictType(key_type=key, value_type=value):
            yield from unbounded(key, f"{path} (key)", seen)
            yield from unbounded(value, f"{path}{{}}", seen)
        case inspect.StructType(cls=struct, fields=fields) if struct not in seen:
            for field in fields:
                yield from unbounded(field.type, f"{path}.{field.encode_name}", seen | {struct})


@asynchronous
async def test_every_field_has_an_end(cloud: MakeWorld):
    async with cloud() as world:
        operations = create_faces(world.services).operations()
    found = [
        problem
        for _, operation in operations
        if operation.body_type is not None
        for problem in unbounded(inspect.type_info(operation.body_type.struct), operation.name)
    ]
    assert found == []


@pytest.mark.parametrize("kind", [str, int, list[str], dict[str, int], msgspec.defstruct("Some", [("text", str)])])
def test_the_rule_sees_what_has_no_end(kind: Any):
    assert list(unbounded(inspect.type_info(kind), "x"))
