"""The Compute API v2.1: Nova's, with its microversions."""

from adapters.rest.compute import discovery as versions
from adapters.rest.compute import extensions
from adapters.rest.compute.catalogue import flavor_specs, flavors, keypairs, quotas, server_groups
from adapters.rest.compute.fleet import aggregates, hypervisors, services, zones
from adapters.rest.compute.servers import (
    consoles,
    create,
    instance_actions,
    listing,
    migration_steering,
    migrations,
    shown,
)
from adapters.rest.compute.servers.actions import (
    console_log,
    create_image,
    evacuate,
    lock,
    moves,
    not_yet,
    rebuild,
    rescue,
    shelving,
    simple,
)
from adapters.rest.compute.servers.parts import addresses, interfaces, metadata, security_groups, tags, volumes
from adapters.rest.kit.operation import Operation

SERVERS = (listing, shown, create, consoles, instance_actions, migrations, migration_steering)
ACTIONS = (simple, lock, rebuild, rescue, moves, evacuate, create_image, shelving, console_log, not_yet)
PARTS = (metadata, tags, addresses, interfaces, volumes, security_groups)
CATALOGUE = (flavors, flavor_specs, keypairs, quotas, server_groups)
FLEET = (hypervisors, services, zones, aggregates)


def operations() -> list[Operation]:
    """All operations under ``/v2.1``."""
    modules = (versions, *SERVERS, *ACTIONS, *PARTS, *CATALOGUE, *FLEET, extensions)
    return [operation for module in modules for operation in module.operations]


def discovery() -> list[Operation]:
    """What is served above the version."""
    return list(versions.roots)
