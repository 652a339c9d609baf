"""What bodies and query strings may be, by microversion: the facts of https://docs.openstack.org/api-ref/placement/."""

from typing import Any

from adapters.rest.placement.schema import Schema, Validator
from domain.placement.ledger.inventory import MAX_FIGURE

MAX_FLOAT = 3.40282e38

UUID_KEY = "^[0-9a-fA-F-]{36}$"
NAME = "^[A-Z0-9_]+$"
CUSTOM_NAME = "^CUSTOM_[A-Z0-9_]+$"
NUMBERED = "[1-9][0-9]*"
SUFFIX = "[a-zA-Z0-9_-]{1,64}"

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
UUID: Schema = {"type": "string", "format": "uuid"}
EXTERNAL_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 255}


def _object(properties: dict[str, Any], *required: str, **more: Any) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return schema | more


def _map(pattern: str, inner: Schema, **more: Any) -> Schema:
    return {"type": "object", "patternProperties": {pattern: inner}, "additionalProperties": False} | more


class Since:
    """The schema that holds from each of some microversions on."""

    def __init__(self, *versions: tuple[int, Schema]) -> None:
        self._versions = [(minor, Validator(schema)) for minor, schema in reversed(versions)]

    def __call__(self, minor: int) -> Validator:
        return next(validator for first, validator in self._versions if minor >= first)


_parent: Schema = {"anyOf": [UUID, {"type": "null"}]}
_provider_name: Schema = {"type": "string", "maxLength": 200}
PROVIDER_CREATE = Since(
    (0, _object({"name": _provider_name, "uuid": UUID}, "name")),
    (14, _object({"name": _provider_name, "uuid": UUID, "parent_provider_uuid": _parent}, "name")),
)
PROVIDER_UPDATE = Since(
    (0, _object({"name": _provider_name}, "name")),
    (14, _object({"name": _provider_name, "parent_provider_uuid": _parent}, "name")),
)
_list_0: dict[str, Any] = {"name": STRING, "uuid": UUID}
_list_14: dict[str, Any] = _list_0 | {"member_of": STRING, "resources": STRING, "in_tree": UUID}
PROVIDER_LIST = Since(
    (0, _object(_list_0)),
    (3, _object(_list_0 | {"member_of": STRING})),
    (4, _object(_list_0 | {"member_of": STRING, "resources": STRING})),
    (14, _object(_list_14)),
    (18, _object(_list_14 | {"required": STRING})),
)

_aggregates: Schema = {"type": "array", "items": UUID, "uniqueItems": True}
AGGREGATES = Since(
    (0, _aggregates),
    (
        19,
        _object(
            {"aggregates": _aggregates, "resource_provider_generation": INTEGER},
            "aggregates",
            "resource_provider_generation",
        ),
    ),
)


def _whole(minimum: int) -> Schema:
    return {"type": "integer", "maximum": MAX_FIGURE, "minimum": minimum}


_inventory: dict[str, Any] = {
    "resource_provider_generation": INTEGER,
    "total": _whole(1),
    "reserved": _whole(0),
    "min_unit": _whole(1),
    "max_unit": _whole(1),
    "step_size": _whole(1),
    "allocation_ratio": {"type": "number", "maximum": MAX_FLOAT},
}
INVENTORY_UPDATE = Since((0, _object(_inventory, "total", "resource_provider_generation")))
INVENTORY_CREATE = Since(
    (0, _object(_inventory | {"resource_class": {"type": "string", "pattern": NAME}}, "total", "resource_class"))
)
_inventories = _object(
    {
        "resource_provider_generation": INTEGER,
        "inventories": {"type": "object", "patternProperties": {NAME: _object(_inventory, "total")}},
    },
    "resource_provider_generation",
    "inventories",
)
INVENTORIES = Since((0, _inventories))

RESOURCE_CLASS = Since((0, _object({"name": {"type": "string", "pattern": CUSTOM_NAME, "maxLength": 255}}, "name")))
PROVIDER_TRAITS = Since(
    (
        0,
        _object(
            {
                "traits": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 255}},
                "resource_provider_generation": INTEGER,
            },
            "traits",
            "resource_provider_generation",
        ),
    )
)
TRAIT_LIST = Since((0, _object({"name": STRING, "associated": STRING})))

_usages: dict[str, Any] = {"project_id": EXTERNAL_ID, "user_id": EXTERNAL_ID}
_asked_type = EXTERNAL_ID | {"pattern": f"{NAME}|^all|^unknown$"}
USAGES = Since(
    (0, _object(_usages, "project_id")), (38, _object(_usages | {"consumer_type": _asked_type}, "project_id"))
)

_amounts = _map(NAME, {"type": "integer", "minimum": 1}, minProperties=1)
_owner: dict[str, Any] = {"project_id": EXTERNAL_ID, "user_id": EXTERNAL_ID}
_listed: Schema = {
    "type": "array",
    "minItems": 1,
    "items": _object(
        {"resource_provider": _object({"uuid": UUID}, "uuid"), "resources": _amounts},
        "resource_provider",
        "resources",
    ),
}
_mappings: Schema = {
    "type": "object",
    "minProperties": 1,
    "patternProperties": {SUFFIX: {"type": "array", "minItems": 1, "items": UUID}},
}
_consumer_type = EXTERNAL_ID | {"pattern": NAME}
_generation: Schema = {"type": ["integer", "null"], "additionalProperties": False}


def _allocations(minor: int, *, may_be_empty: bool) -> Schema:
    """From 1.12 on: the allocations by provider, and what came to stand beside them."""
    by_provider = _object({"generation": INTEGER, "resources": _amounts}, "resources")
    properties = {"allocations": _map(UUID_KEY, by_provider, minProperties=0 if may_be_empty else 1), **_owner}
    required = ["allocations", "project_id", "user_id"]
    if minor >= 28:
        properties["consumer_generation"] = _generation
        required.append("consumer_generation")
    if minor >= 34:
        properties["mappings"] = _mappings
    if minor >= 38:
        properties["consumer_type"] = _consumer_type
        required.append("consumer_type")
    return _object(properties, *required)


def _by_consumer(minor: int, fewest: int) -> Schema:
    return _map(UUID_KEY, _allocations(minor, may_be_empty=True), minProperties=fewest)


ALLOCATION = Since(
    (0, _object({"allocations": _listed}, "allocations")),
    (8, _object({"allocations": _listed, **_owner}, "allocations", "project_id", "user_id")),
    (12, _allocations(12, may_be_empty=False)),
    *((minor, _allocations(minor, may_be_empty=True)) for minor in (28, 34, 38)),
)
ALLOCATIONS = Since(*((minor, _by_consumer(minor, 1)) for minor in (13, 28, 34, 38)))
RESHAPER = Since(
    *(
        (
            minor,
            _object(
                {"inventories": _map(UUID_KEY, _inventories, minProperties=1), "allocations": _by_consumer(known, 0)},
                "inventories",
                "allocations",
            ),
        )
        for minor, known in ((30, 28), (34, 34), (38, 38))
    )
)


def _candidates(minor: int) -> Schema:
    properties: dict[str, Any] = {}
    if minor >= 16:
        properties["limit"] = {
            "type": ["integer", "string"],
            "pattern": "^[1-9][0-9]*$",
            "maxLength": 10,
            "minimum": 1,
            "minLength": 1,
        }
    if minor < 25:
        names = {10: ("resources",), 17: ("required",), 21: ("member_of",)}
        properties |= {name: STRING for first, known in names.items() if minor >= first for name in known}
        return _object(properties, "resources")
    properties["group_policy"] = {"type": "string", "enum": ["none", "isolate"]}
    if minor >= 35:
        properties["root_required"] = STRING
    if minor >= 36:
        properties["same_subtree"] = STRING
    suffix = SUFFIX if minor >= 33 else NUMBERED
    names_25 = ("resources", "required", "member_of", *(("in_tree",) if minor >= 31 else ()))
    return _object(properties, patternProperties={f"^{name}({suffix})?$": STRING for name in names_25})


CANDIDATES = Since(*((minor, _candidates(minor)) for minor in (10, 16, 17, 21, 25, 31, 33, 35, 36)))
