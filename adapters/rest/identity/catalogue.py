"""The service catalogue: which API is where."""

import hashlib
from typing import Any, NamedTuple

from adapters.rest.kit.settings import RestSettings

INTERFACES = ("public", "internal", "admin")


class Service(NamedTuple):
    """An entry of the catalogue."""

    type: str
    name: str
    path: str

    def url(self, settings: RestSettings) -> str:
        """Where it is reached. Placement's links demand the root of a port of its own."""
        if self.type == "placement":
            return settings.placement_url
        return settings.public_url + self.path


SERVICES = (
    Service("identity", "keystone", "/identity"),
    Service("compute", "nova", "/compute/v2.1"),
    Service("image", "glance", "/image"),
    Service("network", "neutron", "/network"),
    Service("block-storage", "cinder", "/volume/v3"),
    Service("volumev3", "cinderv3", "/volume/v3"),
    Service("placement", "placement", "/"),
)


def stable_id(*parts: str) -> str:
    """An id that is the same on every worker, in Keystone's form."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def endpoints(settings: RestSettings, service: Service) -> list[dict[str, Any]]:
    """The endpoints of a service, as a token lists them."""
    return [
        {
            "id": stable_id("endpoint", service.type, interface),
            "interface": interface,
            "region": settings.region,
            "region_id": settings.region,
            "url": service.url(settings),
        }
        for interface in INTERFACES
    ]


def catalogue(settings: RestSettings) -> list[dict[str, Any]]:
    return [
        {
            "id": stable_id("service", service.type),
            "type": service.type,
            "name": service.name,
            "endpoints": endpoints(settings, service),
        }
        for service in SERVICES
    ]
