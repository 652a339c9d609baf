"""Which microversion a request speaks, and which media it takes."""

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


def accepts(header: str, media_type: str, before: str = "") -> bool:
    """Whether an Accept header takes a media type; and if ``before`` is given, likes that no better."""
    quality = _quality(header, media_type)
    return quality > 0 and (not before or quality > _quality(header, before))


def _quality(header: str, media_type: str) -> float:
    best: tuple[int, float] = (-1, 0.0)
    for part in header.split(","):
        pattern, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if pattern not in (media_type, media_type.split("/", maxsplit=1)[0] + "/*", "*/*"):
            continue
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        best = max(best, (2 - pattern.count("*"), quality))
    return best[1]
