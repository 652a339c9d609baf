"""What bodies of the network service have in common: numbers and flags in text, and attributes that are not here."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import msgspec
from msgspec import UNSET

from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Call
from adapters.rest.kit.validation import Flag, boolean
from domain.errors import Invalid, Refused

NOTHING: tuple[Any, ...] = (None, "", [], {}, UNSET)


def refuse_unusual(asked: msgspec.Struct, usual: dict[str, Any]) -> None:
    """Refuse by its name (501) an attribute that is not here, unless it is what it would be anyhow: nothing, or the
    value in ``usual``, which has the names of the fields."""
    wire = dict(zip(asked.__struct_fields__, asked.__struct_encode_fields__, strict=True))
    for field, value in usual.items():
        given = getattr(asked, field)
        if given in NOTHING:
            continue
        if not isinstance(value, bool) or flag(wire[field], given) != value:
            raise not_implemented(f"The attribute {wire[field]} with the value {str(given)[:64]!r}")


def flag(name: str, value: Flag) -> bool:
    """A yes or no; raises Invalid."""
    if not isinstance(value, bool | str):
        raise Invalid(f"Invalid input for {name}. Reason: '{value}' cannot be converted to boolean.")
    return boolean(name, value)


def owner(call: Call, asked: Any, what: str) -> str:
    """The project for which it is made: the caller's, or another for an administrator. Raises Refused (403)."""
    project_id: str = asked.project_id or asked.tenant_id or call.context.project_id or ""
    if project_id != call.context.project_id and not call.is_admin:
        raise disallowed(f"create_{what}")
    return project_id


def require_owner(call: Call, project_id: str, rule: str) -> None:
    """Raises Refused (403) unless it is the caller's, or he is an administrator."""
    if project_id != call.context.project_id and not call.is_admin:
        raise disallowed(rule)


def disallowed(rule: str) -> Refused:
    return Refused("policy_not_authorized", f"rule:{rule} is disallowed by policy", status=403)


def ipv4(name: str, value: Any) -> str:
    """An address, in its usual form; raises Invalid."""
    try:
        return str(IPv4Address(value if isinstance(value, str) else ""))
    except ValueError:
        raise Invalid(f"Invalid input for {name}. Reason: '{value}' is not a valid IP address.") from None


def ipv4_range(name: str, value: Any) -> str:
    """A range, as ``10.0.0.0/24``; raises Invalid."""
    try:
        return str(IPv4Network(value if isinstance(value, str) else ""))
    except ValueError:
        raise Invalid(f"Invalid input for {name}. Reason: '{value}' is not a valid CIDR.") from None
