"""Version discovery of the Compute API; no token needed."""

from typing import Any

from adapters.rest.compute.links import ROOT
from adapters.rest.kit.microversion import MAXIMUM, MINIMUM
from adapters.rest.kit.operation import Access, Call, Operations

operations = Operations()
"""At ``/v2.1``."""

roots = Operations()
"""Above it."""


def _version(call: Call) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": f"2.{MAXIMUM}",
        "min_version": f"2.{MINIMUM}",
        "updated": "2013-07-23T11:33:21Z",
        "links": [
            {"rel": "self", "href": f"{call.services.settings.public_url}{ROOT}/v2.1/"},
            {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"},
        ],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}],
    }


@operations("GET", "/", Access.PUBLIC, "os_compute_api:versions:show")
async def show(call: Call) -> Any:
    return {"version": _version(call)}


@roots("GET", "/", Access.PUBLIC, "os_compute_api:versions:list")
async def index(call: Call) -> Any:
    """All versions; the old v2.0 is not served."""
    version = _version(call)
    version["links"] = version["links"][:1]
    del version["media-types"]
    return {"versions": [version]}
