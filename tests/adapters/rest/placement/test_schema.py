"""The quick check of a schema agrees with the library's validator, on bodies that are nearly right."""

from copy import deepcopy
from random import Random
from typing import Any
from uuid import UUID

import jsonschema
import pytest

from adapters.rest.placement import schemas
from adapters.rest.placement.schema import Validator, _formats, is_uuid_like
from domain.errors import Refused

ID = "0b26a931-475e-54c2-a42a-99a32ab964f8"
CLAIM: dict[str, Any] = {
    "allocations": {ID: {"resources": {"VCPU": 1, "CUSTOM_X": 2}}},
    "project_id": "p",
    "user_id": "u",
    "consumer_generation": None,
    "consumer_type": "INSTANCE",
    "mappings": {"_a": [ID]},
}
INVENTORY = {"total": 4, "reserved": 1, "allocation_ratio": 1.5, "min_unit": 1, "max_unit": 4, "step_size": 1}
INVENTORIES = {"resource_provider_generation": 1, "inventories": {"VCPU": INVENTORY}}
BODIES: list[tuple[schemas.Since, int, Any]] = [
    (schemas.ALLOCATION, 39, CLAIM),
    (schemas.ALLOCATIONS, 39, {ID: CLAIM}),
    (schemas.RESHAPER, 39, {"inventories": {ID: INVENTORIES}, "allocations": {ID: CLAIM}}),
    (schemas.INVENTORIES, 39, INVENTORIES),
    (schemas.INVENTORY_CREATE, 39, INVENTORY | {"resource_class": "VCPU"}),
    (schemas.PROVIDER_CREATE, 39, {"name": "n", "uuid": ID, "parent_provider_uuid": None}),
    (schemas.PROVIDER_TRAITS, 39, {"traits": ["CUSTOM_A"], "resource_provider_generation": 3}),
    (schemas.AGGREGATES, 39, {"aggregates": [ID], "resource_provider_generation": 3}),
    (schemas.ALLOCATION, 8, {
        "allocations": [{"resource_provider": {"uuid": ID}, "resources": {"VCPU": 1}}],
        "project_id": "p", "user_id": "u",
    }),
]  # fmt: skip
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.0, 1.5, 2**31, "", "x", "a" * 256, ID, [], [ID, ID], {}, {"x": 1}
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(place for key in keys for place in _places(value[key], (*path, key)))]


def _bent(random: Random, body: Any) -> Any:
    """The body with one thing replaced, removed, added or renamed."""
    bent = deepcopy(body)
    *path, last = random.choice(_places(bent)[1:])
    inner = bent
    for key in path:
        inner = inner[key]
    kind = random.randrange(4)
    if kind == 0:
        inner[last] = random.choice(STRANGE)
    elif kind == 1:
        del inner[last]
    elif isinstance(inner, dict):
        value = inner[last] if kind == 2 else inner.pop(last)
        inner[random.choice(["x", "CUSTOM_Y", ID, ID[:-1], "name", "uuid"])] = value
    return bent


def _valid(validator: Validator, body: Any) -> bool:
    try:
        jsonschema.validate(body, validator.schema, format_checker=_formats)
    except jsonschema.ValidationError:
        return False
    return True


@pytest.mark.parametrize(("since", "minor", "body"), BODIES)
def test_the_quick_check_agrees_with_the_library(since: schemas.Since, minor: int, body: Any) -> None:
    validator = since(minor)
    assert validator._check(body)
    random = Random(7)
    for _ in range(300):
        bent = _bent(random, body)
        assert bool(validator._check(bent)) == _valid(validator, bent), bent


def test_a_refusal_says_what_is_wrong() -> None:
    with pytest.raises(Refused, match="JSON does not validate: 'name' is a required property") as refusal:
        schemas.PROVIDER_CREATE(39).body(b"{}")
    assert refusal.value.status == 400
    with pytest.raises(Refused, match="Malformed JSON"):
        schemas.PROVIDER_CREATE(39).body(b"{")


@pytest.mark.parametrize(
    ("value", "alike"),
    [
        (ID, True),
        (ID.upper(), True),
        (UUID(ID).hex, True),
        (f"{{{ID}}}", True),
        (ID[:-1], False),
        ("", False),
        (7, False),
    ],
)
def test_what_looks_like_a_uuid(value: object, alike: bool) -> None:
    assert is_uuid_like(value) is alike
