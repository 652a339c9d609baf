"""The Compute API v2.1: Nova's, with its microversions."""

from adapters.rest.compute import (
    create,
    flavor_specs,
    flavors,
    hypervisors,
    instance_actions,
    keypairs,
    os_services,
    quotas,
    rebuild,
    remote_consoles,
    rescue,
    server_actions,
    server_listing,
    server_metadata,
    server_parts,
    server_tags,
    servers,
    surroundings,
)
from adapters.rest.compute import (
    discovery as versions,
)
from adapters.rest.operation import Operation


def operations() -> list[Operation]:
    """All operations under ``/v2.1``."""
    modules = (
        versions,
        server_listing,
        servers,
        create,
        server_actions,
        rebuild,
        rescue,
        server_metadata,
        server_tags,
        server_parts,
        remote_consoles,
        instance_actions,
        flavors,
        flavor_specs,
        keypairs,
        hypervisors,
        os_services,
        quotas,
        surroundings,
    )
    return [operation for module in modules for operation in module.operations]


def discovery() -> list[Operation]:
    """What is served above the version."""
    return list(versions.roots)
