"""The negotiation of an API's microversion: which one a request speaks.

A microversion is the number behind the major version and a point. The rules are those of
https://specs.openstack.org/openstack/api-sig/guidelines/microversion_specification.html.
"""

import re
from typing import NamedTuple

from domain.errors import Invalid, Refused

MINIMUM, MAXIMUM = 1, 104
"""Of the Compute API."""
_FORMAT = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")


class Microversions(NamedTuple):
    """Those that a face speaks."""

    service: str
    """What the header calls it."""
    major: int
    minimum: int
    maximum: int
    also_called: frozenset[str] = frozenset()
    legacy_header: str | None = None
    """One of its own, with the version alone."""

    def named(self, minor: int) -> str:
        return f"{self.major}.{minor}"

    def negotiate(self, header: str | None, legacy_header: str | None = None) -> int:
        """The microversion asked for; the minimum if none was. Raises Invalid (400) or Refused (406)."""
        asked = self._of_service(header) or legacy_header
        if asked is None:
            return self.minimum
        asked = asked.strip()
        if asked.lower() == "latest" or asked == self.named(self.maximum):
            return self.maximum
        match = _FORMAT.fullmatch(asked)
        if match is None:
            words = f"API Version String {asked[:40]} is of invalid format. Must be of format MajorNum.MinorNum."
            raise Invalid(words)
        major, minor = match.groups()
        if int(major) != self.major or not self.minimum <= int(minor) <= self.maximum:
            raise Refused(
                "microversion.unknown",
                f"Version {asked} is not supported by the API. Minimum is {self.named(self.minimum)} and maximum is "
                f"{self.named(self.maximum)}.",
                status=406,
            )
        return int(minor)

    def _of_service(self, header: str | None) -> str | None:
        """The version for us in ``OpenStack-API-Version: compute 2.1, volume 3.0``."""
        for part in (header or "").split(","):
            service, _, version = part.strip().partition(" ")
            if version and (service.lower() == self.service or service.lower() in self.also_called):
                return version
        return None

    def headers(self, minor: int | None) -> list[tuple[bytes, bytes]]:
        """What an answer says of its microversion."""
        legacy = self.legacy_header
        vary = "OpenStack-API-Version" + (f", {legacy}" if legacy else "")
        told = [(b"vary", vary.encode())]
        if minor is None:
            return told
        version = self.named(minor).encode()
        if legacy:
            told.insert(0, (legacy.lower().encode(), version))
        return [(b"openstack-api-version", self.service.encode() + b" " + version), *told]


COMPUTE = Microversions("compute", 2, MINIMUM, MAXIMUM, frozenset(("nova",)), "X-OpenStack-Nova-API-Version")
