"""The negotiation of the Compute API's microversion: which one a request speaks.

A microversion is the number behind ``2.``. The rules are those of
https://specs.openstack.org/openstack/api-sig/guidelines/microversion_specification.html.
"""

import re

from domain.errors import Invalid, Refused

MINIMUM, MAXIMUM = 1, 104
SERVICE = "compute"
_FORMAT = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
VARY = "OpenStack-API-Version, X-OpenStack-Nova-API-Version"


def negotiate(header: str | None, legacy_header: str | None) -> int:
    """The microversion asked for; the minimum if none was. Raises Invalid (400) or Refused (406)."""
    asked = _of_service(header) or legacy_header
    if asked is None:
        return MINIMUM
    asked = asked.strip()
    if asked.lower() == "latest":
        return MAXIMUM
    if asked == f"2.{MAXIMUM}":
        return MAXIMUM
    match = _FORMAT.fullmatch(asked)
    if match is None:
        raise Invalid(f"API Version String {asked[:40]} is of invalid format. Must be of format MajorNum.MinorNum.")
    major, minor = match.groups()
    if major != "2" or not MINIMUM <= int(minor) <= MAXIMUM:
        raise Refused(
            "microversion.unknown",
            f"Version {asked} is not supported by the API. Minimum is 2.{MINIMUM} and maximum is 2.{MAXIMUM}.",
            status=406,
        )
    return int(minor)


def _of_service(header: str | None) -> str | None:
    """The version for us in ``OpenStack-API-Version: compute 2.1, volume 3.0``."""
    for part in (header or "").split(","):
        service, _, version = part.strip().partition(" ")
        if service.lower() in (SERVICE, "nova") and version:
            return version
    return None


def headers(minor: int | None) -> list[tuple[bytes, bytes]]:
    """What an answer says of its microversion."""
    vary = (b"vary", VARY.encode())
    if minor is None:
        return [vary]
    version = f"2.{minor}".encode()
    return [
        (b"openstack-api-version", SERVICE.encode() + b" " + version),
        (b"x-openstack-nova-api-version", version),
        vary,
    ]
