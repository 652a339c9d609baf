"""Which microversion a request speaks."""

from domain.errors import Refused

MINIMUM, MAXIMUM = 0, 39
SERVICE = "placement"
HEADER = "openstack-api-version"


def version_of(minor: int) -> str:
    """As the headers write it."""
    return f"1.{minor}"


def negotiate(header: str | None) -> int:
    """The number behind ``1.``; the minimum if none was asked for. Raises Refused (400, 406)."""
    asked = _of_service(header) or version_of(MINIMUM)
    if asked == "latest":
        return MAXIMUM
    try:
        major, minor = (int(part) for part in asked.split(".", 1))
    except ValueError as error:
        raise Refused(
            "microversion.malformed", f"Invalid microversion: invalid version string: {asked}; {error}", status=400
        ) from None
    if major != 1 or not MINIMUM <= minor <= MAXIMUM:
        raise Refused(
            "microversion.unknown", f"Invalid microversion: Unacceptable version header: {asked}", status=406
        )
    return minor


def _of_service(header: str | None) -> str | None:
    """The last one for us in ``placement 1.2, compute 2.1``."""
    for part in reversed((header or "").split(",")):
        service, _, version = part.strip().partition(" ")
        if service.lower() == SERVICE and version:
            return version.strip()
    return None
