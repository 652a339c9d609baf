"""Version discovery of the Block Storage API; no token needed."""

from typing import Any

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.volume.links import ROOT
from adapters.rest.volume.microversion import VOLUME

operations = Operations()
"""At ``/v3``."""

roots = Operations()
"""Above it."""


def _versions(call: Call) -> dict[str, Any]:
    version = {
        "id": "v3.0",
        "status": "CURRENT",
        "version": VOLUME.named(VOLUME.maximum),
        "min_version": VOLUME.named(VOLUME.minimum),
        "updated": "2018-07-17T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": f"{call.services.settings.public_url}{ROOT}/v3/"},
        ],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}],
    }
    return {"versions": [version]}


@operations("GET", "/", Access.PUBLIC, "volume:versions")
async def show(call: Call) -> Any:
    return _versions(call)


@roots("GET", "/", Access.PUBLIC, "volume:versions", status=300)
async def index(call: Call) -> Any:
    """All versions; the older ones are not served."""
    return _versions(call)
