"""What is wanted of a server: declared once for the request, the event and the server itself.

A new attribute of servers is a field here, in the body that asks for it, and where it is shown; what lies between
copies all of these fields.
"""

from operator import attrgetter
from typing import Any

import msgspec

from domain.affinity import Terms
from domain.catalogue.flavor import Flavor
from domain.guest import ImageSource
from domain.server.parts import NetworkRequest


class Wish(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A field that comes new has a default: what it means for servers that were made before."""

    name: str
    flavor: Flavor
    image: ImageSource | None = None
    key_name: str | None = None
    public_key: str | None = None
    metadata: dict[str, str] = {}
    networks: tuple[NetworkRequest, ...] = ()
    security_groups: tuple[str, ...] = ()
    config_drive: bool = False
    description: str | None = None
    tags: tuple[str, ...] = ()
    hostname: str | None = None
    """None: derived from the name."""
    access_ipv4: str | None = None
    """An address by which its owner says that it is reached; nothing goes by it."""
    access_ipv6: str | None = None
    group: Terms | None = None
    """What it is held to as a member of its server group."""
    hints: dict[str, tuple[str, ...]] = {}
    """What was hinted to the scheduler, by Nova's names: see ``domain.server.hints``."""


FIELDS = Wish.__struct_fields__
_values = attrgetter(*FIELDS)


def wish_of(thing: Any) -> dict[str, Any]:
    """The wish in something that has all of these fields, by name."""
    return dict(zip(FIELDS, _values(thing), strict=True))
