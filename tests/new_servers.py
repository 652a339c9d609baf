"""Requests for servers that want little."""

from typing import Any

from msgspec.structs import replace

from domain.catalogue.flavor import Flavor
from handlers.servers.requests import NewServer


def new_server(flavor: Flavor, **more: Any) -> NewServer:
    """One server of this flavor and nothing else, or with ``more``."""
    least = NewServer(
        name="vm",
        flavor=flavor,
        image=None,
        key_name=None,
        public_key=None,
        metadata={},
        networks=(),
        security_groups=(),
        config_drive=False,
        description=None,
        tags=(),
        hostname=None,
    )
    return replace(least, **more)
