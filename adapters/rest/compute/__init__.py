"""The Compute API v2.1: Nova's, with its microversions."""

from adapters.rest.compute import discovery as versions
from adapters.rest.compute import surroundings
from adapters.rest.compute.catalogue import flavor_specs, flavors, keypairs, quotas
from adapters.rest.compute.fleet import hypervisors, services, zones
from adapters.rest.compute.servers import consoles, create, instance_actions, listing, shown
from adapters.rest.compute.servers.actions import rebuild, rescue, simple
from adapters.rest.compute.servers.parts import metadata, neighbours, tags
from adapters.rest.kit.operation import Operation

SERVERS = (listing, shown, create, simple, rebuild, rescue, metadata, tags, neighbours, consoles, instance_actions)
CATALOGUE = (flavors, flavor_specs, keypairs, quotas)
FLEET = (hypervisors, services, zones)


def operations() -> list[Operation]:
    """All operations under ``/v2.1``."""
    modules = (versions, *SERVERS, *CATALOGUE, *FLEET, surroundings)
    return [operation for module in modules for operation in module.operations]


def discovery() -> list[Operation]:
    """What is served above the version."""
    return list(versions.roots)
