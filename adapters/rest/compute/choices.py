"""What a new server is made of: its image, networks, zone and host, as the request names them."""

import base64
import binascii
from ipaddress import IPv4Address
from typing import Literal

from msgspec import UNSET, UnsetType

from adapters.rest.compute.create_body import NetworkRef, NewServerBody
from adapters.rest.errors import not_implemented
from adapters.rest.image.access import may_use
from adapters.rest.network.access import visible_networks
from adapters.rest.operation import Call
from adapters.rest.validation import identifier
from domain import image as images
from domain import network as domain_network
from domain.errors import Invalid, Refused
from domain.guest import ImageSource
from domain.network import Network
from domain.server.events import NetworkRequest

MAX_COUNT = 1000
"""Servers that one request may ask for."""

MAX_NICS = 16


def image(call: Call, reference: str | UnsetType) -> tuple[ImageSource, int]:
    """The image to start from, and the memory in MiB that it wants."""
    if reference is UNSET or not reference:
        raise Invalid("Invalid imageRef provided.")
    image_id = reference.rstrip("/").rpartition("/")[2]
    identifier("imageRef", image_id)
    found: images.Image | None = call.services.registry.get(images.aggregate(image_id))
    if found is None or found.status == "deleted" or not may_use(call.context, found):
        raise Invalid("Can not find requested image")
    if found.status != "active":
        raise Invalid(f"Image {image_id} is not active.")
    assert found.hash_value
    assert found.disk_format
    source = ImageSource(
        id=found.id,
        disk_format=found.disk_format,
        checksum=found.hash_value,
        checksum_algorithm=found.hash_algorithm or "sha512",
        size=found.size or 0,
        min_disk_gb=_min_disk_gb(found),
        properties=found.properties,
    )
    return source, found.min_ram_mb


def _min_disk_gb(found: images.Image) -> int:
    """What the image wants, and at least what the disk inside it measures."""
    inside = found.virtual_size or 0
    return max(found.min_disk_gb, (inside + (1 << 30) - 1) >> 30)


def networks(call: Call, asked: list[NetworkRef] | Literal["auto", "none"] | UnsetType) -> tuple[NetworkRequest, ...]:
    """The interfaces wanted."""
    if isinstance(asked, str):
        return (NetworkRequest(network_id=_automatic(call).id),) if asked == "auto" else ()
    if isinstance(asked, UnsetType) or not asked:
        return _the_only_one(call)
    if len(asked) > MAX_NICS:
        raise Invalid(f"A server can have {MAX_NICS} network interfaces at the most.")
    return tuple(_interface(call, each) for each in asked)


def _interface(call: Call, asked: NetworkRef) -> NetworkRequest:
    if asked.port not in (UNSET, None):
        raise not_implemented("Booting with an existing port")
    if asked.uuid is UNSET:
        raise Invalid("Bad networks format: a network's uuid is missing.")
    identifier("uuid", asked.uuid)
    found: Network | None = call.services.registry.get(domain_network.aggregate(asked.uuid))
    if found is None or found not in visible_networks(call):
        raise Invalid(f"Network {asked.uuid} could not be found.")
    if asked.fixed_ip is UNSET:
        return NetworkRequest(network_id=found.id)
    try:
        inside = IPv4Address(asked.fixed_ip) in found.cidr
    except ValueError:
        inside = False
    if not inside:
        raise Invalid(f"Fixed IP address {asked.fixed_ip} is not a valid ip address for network {found.id}.")
    if found.has(asked.fixed_ip):
        raise Invalid(f"Fixed IP address {asked.fixed_ip} is already in use on instance.")
    return NetworkRequest(network_id=found.id, fixed_ip=asked.fixed_ip)


def _automatic(call: Call) -> Network:
    """The project's own network, or else a shared one."""
    known = visible_networks(call, everybodys=False)
    own = [each for each in known if each.project_id == call.context.project_id]
    for candidate in (*own, *known):
        return candidate
    raise Invalid(f"Unable to automatically allocate a network for project {call.context.project_id}: there is none.")


def _the_only_one(call: Call) -> tuple[NetworkRequest, ...]:
    """The network of a request that names none: clear only if there is just one."""
    known = visible_networks(call, everybodys=False)
    if len(known) > 1:
        raise Refused("network.ambiguous", "Multiple possible networks found, use a Network ID to be more specific.")
    return tuple(NetworkRequest(network_id=each.id) for each in known)


async def zone_and_host(call: Call, asked: NewServerBody) -> tuple[str | None, str | None]:
    """The zone and the host asked for; a host is an administrator's to ask for."""
    zone: str | None = asked.availability_zone if asked.availability_zone is not UNSET else None
    host: str | None = None
    if zone and ":" in zone:
        zone, _, host = zone.partition(":")
        host = host.partition(":")[0] or None
        _only_admin(call, "forced_host")
        zone = None
    for named in (asked.host, asked.hypervisor_hostname):
        if named is UNSET:
            continue
        _only_admin(call, "requested_destination")
        if host not in (None, named):
            raise Invalid("host and hypervisor_hostname name different hosts, or the availability zone does.")
        host = named
    if host is not None and await call.services.queries.host(host) is None:
        raise Invalid(f"Compute host {host} could not be found.")
    if zone is not None:
        rows = await call.services.queries.hosts()
        if zone not in {row.state.availability_zone for row in rows}:
            raise Invalid("The requested availability zone is not available")
    return zone, host


def _only_admin(call: Call, what: str) -> None:
    if not call.is_admin:
        rule = f"os_compute_api:servers:create:{what}"
        raise Refused("forbidden", f"Policy doesn't allow {rule} to be performed.", status=403)


def check_base64(name: str, text: str) -> None:
    """Raise Invalid unless it is base64."""
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        raise Invalid(
            f"Invalid input for field/attribute {name}. Value: {text[:64]}. {text[:64]!r} is not a 'base64'"
        ) from None
