"""What a new server is made of: its image, key, networks, zone and host, as the request names them."""

import base64
import binascii
import secrets
import string
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from adapters.rest.compute import inner_rules
from adapters.rest.compute.catalogue.flavors import known_to
from adapters.rest.compute.servers.create_body import File, NetworkRef, NewServerBody
from adapters.rest.compute.servers.rebuild_body import RebuildArguments
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Call
from adapters.rest.kit.validation import address, identifier
from domain import image_properties
from domain.catalogue import flavor_specs
from domain.catalogue import keypair as keypairs
from domain.catalogue.flavor import Flavor
from domain.errors import Invalid, Refused
from domain.guest import ImageSource
from domain.server import limits
from domain.server.parts import NetworkRequest
from handlers.neighbours import BootImage
from handlers.servers import guest_secrets

MAX_COUNT = 1000
"""Servers that one request may ask for."""

PASSWORD_LENGTH = 12
_ALPHABET = "".join(sorted(set(string.ascii_letters + string.digits) - set("Il1O0o")))
_PLACES = [len(_ALPHABET) ** place for place in range(PASSWORD_LENGTH)]


def as_asked(body: NewServerBody | RebuildArguments, names: Iterable[str]) -> dict[str, Any]:
    """The values of those of these fields that the body has."""
    return {name: value for name in names if (value := getattr(body, name)) is not UNSET}


def flavor(call: Call, reference: str) -> Flavor:
    """The flavor by its id, or by a link to it. As in Nova, an unknown one is a bad request, not a missing page."""
    flavor_id = reference.rstrip("/").rpartition("/")[2]
    found = known_to(call, flavor_id)
    if found is None or found.disabled:
        raise Invalid(f"Flavor {flavor_id} could not be found.")
    flavor_specs.check(found)
    if not found.disk_gb and not call.is_admin:
        # Its disk is as large as the image says, and nobody claims it.
        raise Refused(
            "flavor.zero_disk", "Only volume-backed servers are allowed for flavors with zero disk.", status=403
        )
    return found


ACCESS = {"access_ipv4": ("accessIPv4", 4), "access_ipv6": ("accessIPv6", 6)}
"""The fields of the addresses by which a server is said to be reached: Nova's name, and the version of IP."""


def access_addresses(body: msgspec.Struct) -> dict[str, Any]:
    """Those that the body has. Raises Invalid for what is no address of that version."""
    return {
        field: address(name, value, version)
        for field, (name, version) in ACCESS.items()
        if (value := getattr(body, field)) is not UNSET
    }


async def image(call: Call, reference: str | UnsetType, host: str | None = None) -> BootImage:
    """The image to start from, on that host if it is known already."""
    if reference is UNSET or not reference:
        raise Invalid("Invalid imageRef provided.")
    image_id = reference.rstrip("/").rpartition("/")[2]
    identifier("imageRef", image_id)
    found = await call.services.neighbours.images.bootable(call.context, image_id)
    properties = found.source.properties
    if image_properties.size(properties) > image_properties.MAX_BYTES:
        raise Invalid(f"Image {image_id} has properties of more than {image_properties.MAX_BYTES} bytes.")
    image_properties.check(properties)
    _check_architecture(call, found.source, host)
    return found


def _check_architecture(call: Call, found: ImageSource, host: str | None) -> None:
    where = call.services.fleet.named(host) if host else None
    wanted = image_properties.architecture(found.properties)
    if where and not image_properties.runs_on(wanted, where.description.architecture):
        raise Invalid(f"Image {found.id} is made for {wanted}, and does not run on the server's host.")


async def networks(
    call: Call, asked: list[NetworkRef] | Literal["auto", "none"] | UnsetType, servers: int
) -> tuple[NetworkRequest, ...]:
    """The interfaces of each of so many servers. Raises Invalid, and Refused."""
    if isinstance(asked, str):
        return (await _automatic(call),) if asked == "auto" else ()
    if isinstance(asked, UnsetType) or not asked:
        return await _the_only_one(call)
    if len(asked) > limits.MAX_INTERFACES:
        raise Invalid(f"A server can have {limits.MAX_INTERFACES} network interfaces at the most.")
    found = tuple([await _interface(call, each) for each in asked])
    fixed = [(each.network_id, each.fixed_ip) for each in found if each.fixed_ip]
    if len(set(fixed)) < len(fixed):
        raise Invalid("The same fixed IP address is requested for several interfaces.")
    ports = [each.port_id for each in found if each.port_id]
    if ports and servers > 1:
        raise Invalid(
            "Unable to launch multiple instances with a single configured port ID. Please launch your instances one "
            "by one with different ports."
        )
    if len(set(ports)) < len(ports):
        raise Invalid("The same port is requested for several interfaces.")
    return found


async def _interface(call: Call, asked: NetworkRef) -> NetworkRequest:
    if isinstance(asked.port, str):
        identifier("port", asked.port)
        if asked.fixed_ip is not UNSET:
            raise Invalid(f"Specified Fixed IP '{asked.fixed_ip}' cannot be used with port '{asked.port}'.")
        return await call.services.neighbours.networks.port(call.context, asked.port)
    if asked.uuid is UNSET:
        raise Invalid("Bad networks format: a network's uuid is missing.")
    identifier("uuid", asked.uuid)
    fixed_ip = None if asked.fixed_ip is UNSET else asked.fixed_ip
    return await call.services.neighbours.networks.interface(call.context, asked.uuid, fixed_ip)


async def _automatic(call: Call) -> NetworkRequest:
    """On the project's own network, or else on a shared one."""
    usable = await call.services.neighbours.networks.usable(call.context)
    if not usable:
        project_id = call.context.project_id
        raise Invalid(f"Unable to automatically allocate a network for project {project_id}: there is none.")
    return NetworkRequest(network_id=usable[0].id)


async def _the_only_one(call: Call) -> tuple[NetworkRequest, ...]:
    """On the network of a request that names none: clear only if there is just one."""
    usable = await call.services.neighbours.networks.usable(call.context)
    if len(usable) > 1:
        raise Refused("network.ambiguous", "Multiple possible networks found, use a Network ID to be more specific.")
    return tuple(NetworkRequest(network_id=each.id) for each in usable)


def zone_and_host(call: Call, asked: NewServerBody) -> tuple[str | None, str | None]:
    """The zone and the host asked for; a host is an administrator's to ask for."""
    zone: str | None = asked.availability_zone if asked.availability_zone is not UNSET else None
    host: str | None = None
    if zone and ":" in zone:
        zone, _, host = zone.partition(":")
        host = host.partition(":")[0] or None
        call.require(inner_rules.FORCED_HOST)
        zone = None
    for named in (asked.host, asked.hypervisor_hostname):
        if named is UNSET:
            continue
        call.require(inner_rules.REQUESTED_DESTINATION)
        if host not in (None, named):
            raise Invalid("host and hypervisor_hostname name different hosts, or the availability zone does.")
        host = named
    if host is not None and call.services.fleet.named(host) is None:
        raise Invalid(f"Compute host {host} could not be found.")
    if zone is not None and zone not in call.services.fleet.zones():
        raise Invalid("The requested availability zone is not available")
    return zone, host


def public_key(call: Call, name: str | None, owner: str | None = None) -> str | None:
    """The key of that name of the caller's, or of the owner's of a server that is there. Raises Invalid for one that
    is not there; no name is no key."""
    if name is None:
        return None
    user_id = owner or call.context.user_id
    assert user_id
    known = call.services.registry.of(keypairs.KIND, user_id)
    if known is None or name not in known.by_name:
        raise Invalid("Invalid key_name provided.")
    return known.by_name[name].public_key


def password(asked: str | UnsetType) -> str:
    """The administrator's password asked for, or a new one."""
    if asked is not UNSET:
        return asked
    number = secrets.randbelow(len(_ALPHABET) ** PASSWORD_LENGTH)
    return "".join([_ALPHABET[number // place % len(_ALPHABET)] for place in _PLACES])


def files(asked: list[File] | UnsetType) -> tuple[guest_secrets.File, ...]:
    given = asked if asked is not UNSET else []
    limits.check_files((file.path, decoded("contents", file.contents)) for file in given)
    return tuple(guest_secrets.File(file.path, file.contents) for file in given)


def refuse_unsupported(asked: NewServerBody | RebuildArguments) -> None:
    """Refuse what this cloud cannot do yet, for new servers and for rebuilt ones."""
    if asked.trusted_image_certificates not in (UNSET, None, []):
        raise not_implemented("Validating image certificates")
    if asked.disk_config is not UNSET and asked.disk_config == "AUTO":
        raise Refused("disk_config", "Automatic disk configuration is not supported by this cloud.", status=400)


def check_base64(name: str, text: str) -> str:
    """The text, which is base64. Raises Invalid."""
    decoded(name, text)
    return text


def decoded(name: str, text: str) -> bytes:
    """What the base64 says. Raises Invalid."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        raise Invalid(
            f"Invalid input for field/attribute {name}. Value: {text[:64]}. {text[:64]!r} is not a 'base64'"
        ) from None
