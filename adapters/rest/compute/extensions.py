"""The extensions of Nova that were once optional: very old clients look there for what may be asked."""

from typing import Any

from adapters.rest.kit.operation import Access, Call, Operations
from domain.errors import Refused

operations = Operations()

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
async def index(_call: Call) -> Any:
    return {"extensions": [_extension(alias, name) for alias, name in EXTENSIONS.items()]}


@operations("GET", "/extensions/{alias}", Access.READER, "os_compute_api:extensions")
async def show(call: Call) -> Any:
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise Refused("extension.not_found", f"Extension {alias} could not be found.", status=404)
    return {"extension": _extension(alias, EXTENSIONS[alias])}
