"""What stands around servers: lists that are empty here but that clients ask for."""

from typing import Any

from adapters.rest.kit.operation import Access, Call, Operations
from domain.errors import Refused

operations = Operations()


@operations("GET", "/os-server-groups", Access.READER, "os_compute_api:os-server-groups:index")
async def server_groups(_call: Call) -> Any:
    """There are no server groups."""
    return {"server_groups": []}


@operations("GET", "/os-server-groups/{group_id}", Access.READER, "os_compute_api:os-server-groups:show")
async def server_group(call: Call) -> Any:
    raise Refused("group.not_found", f"Instance group {call.params['group_id']} could not be found.", status=404)


@operations("GET", "/os-aggregates", Access.ADMIN, "os_compute_api:os-aggregates:index")
async def aggregates(_call: Call) -> Any:
    """There are no host aggregates."""
    return {"aggregates": []}


@operations("GET", "/os-migrations", Access.ADMIN, "os_compute_api:os-migrations:index")
async def migrations(_call: Call) -> Any:
    """There are no migrations."""
    return {"migrations": []}


EXTENSIONS = {
    "os-availability-zone": "AvailabilityZone",
    "os-console-output": "ConsoleOutput",
    "os-extended-server-attributes": "ExtendedServerAttributes",
    "os-extended-status": "ExtendedStatus",
    "os-flavor-extra-specs": "FlavorExtraSpecs",
    "os-hypervisors": "Hypervisors",
    "os-instance-actions": "InstanceActions",
    "os-keypairs": "Keypairs",
    "os-quota-sets": "Quotas",
    "os-services": "Services",
}
"""What Nova's extensions list is for: very old clients look there for what may be asked."""


def _extension(alias: str, name: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": name,
        "description": "",
        "links": [],
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
        "updated": "2014-12-03T00:00:00Z",
    }


@operations("GET", "/extensions", Access.READER, "os_compute_api:extensions")
async def extensions(_call: Call) -> Any:
    """The extensions that were once optional."""
    return {"extensions": [_extension(alias, name) for alias, name in EXTENSIONS.items()]}


@operations("GET", "/extensions/{alias}", Access.READER, "os_compute_api:extensions")
async def extension(call: Call) -> Any:
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise Refused("extension.not_found", f"Extension {alias} could not be found.", status=404)
    return {"extension": _extension(alias, EXTENSIONS[alias])}
