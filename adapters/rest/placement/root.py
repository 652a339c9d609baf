"""What there is: the one version of the API."""

from adapters.rest.placement.negotiation import MAXIMUM, MINIMUM, version_of
from adapters.rest.placement.operation import Call, Operations, Reply

operations = Operations()


@operations("GET", "/", "root", rule="", gives=None)
async def home(_call: Call) -> Reply:
    """The version document. Its link is relative, so that it holds behind any proxy."""
    version = {
        "id": f"v{version_of(MINIMUM)}",
        "max_version": version_of(MAXIMUM),
        "min_version": version_of(MINIMUM),
        "status": "CURRENT",
        "links": [{"rel": "self", "href": ""}],
    }
    return Reply({"versions": [version]})
