"""A server as the API shows it, at each microversion.

https://docs.openstack.org/api-ref/compute/#show-server-details
"""

import hashlib
from typing import Any

from adapters.rest.compute.links import bookmark, item
from adapters.rest.compute.servers.status import WITH_FAULT, WITH_PROGRESS, status_of
from adapters.rest.kit import since
from adapters.rest.kit.operation import Call
from adapters.rest.kit.times import micros, seconds
from domain.catalogue import server_group
from domain.catalogue.flavor import Flavor
from domain.fleet.host import Host
from domain.guest import Nic, instance_name
from domain.server.state import DELETED, Server, guest_name

Document = dict[str, Any]


def basic(call: Call, server: Server) -> Document:
    """What a listing without details shows."""
    return {"id": server.id, "name": server.name, "links": item(call, "servers", server.id)}


def detailed(call: Call, server: Server, host: Host | None, *, alone: bool = True, progress: int = 0) -> Document:
    """Everything. ``host`` is the server's, needed for an administrator only; ``alone`` tells a single server
    from one in a listing. ``progress`` is in percent."""
    status = status_of(server)
    document: Document = {
        "id": server.id,
        "name": server.name,
        "status": status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": server.metadata,
        "hostId": host_hash(server.project_id, server.host if server.vm_state != DELETED else None),
        "image": _image(call, server),
        "flavor": _flavor(call, server.flavor),
        "created": seconds(server.created_at),
        "updated": seconds(server.updated_at),
        "addresses": addresses(server),
        "accessIPv4": server.access_ipv4 or "",
        "accessIPv6": server.access_ipv6 or "",
        "links": item(call, "servers", server.id),
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": server.availability_zone or "",
        "config_drive": "True" if server.config_drive else "",
        "key_name": server.key_name,
        "OS-SRV-USG:launched_at": micros(server.launched_at),
        "OS-SRV-USG:terminated_at": micros(server.terminated_at),
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": int(server.power_state),
        "os-extended-volumes:volumes_attached": [],
    }
    groups = [{"name": name} for name in server.security_groups] or ([{"name": "default"}] if server.nics else [])
    if groups:
        document["security_groups"] = groups
    if status in WITH_FAULT and server.fault and server.fault_at:
        document["fault"] = _fault(call, server)
    if status in WITH_PROGRESS:
        document["progress"] = progress
    if call.is_admin:
        _add_operators_view(call, document, server, host)
    elif call.minor >= since.HOSTNAME:
        document["OS-EXT-SRV-ATTR:hostname"] = guest_name(server)
    _add_newer(call, document, server, alone=alone)
    return document


def _add_operators_view(call: Call, document: Document, server: Server, host: Host | None) -> None:
    prefix = "OS-EXT-SRV-ATTR:"
    document[f"{prefix}host"] = server.host
    document[f"{prefix}hypervisor_hostname"] = server.host
    document[f"{prefix}instance_name"] = instance_name(server.id)
    if call.minor >= since.EXTENDED_ATTRIBUTES:
        document[f"{prefix}hostname"] = guest_name(server)
        document[f"{prefix}reservation_id"] = server.reservation_id
        document[f"{prefix}launch_index"] = server.launch_index
        document[f"{prefix}kernel_id"] = ""
        document[f"{prefix}ramdisk_id"] = ""
        document[f"{prefix}root_device_name"] = "/dev/vda"
        document[f"{prefix}user_data"] = None
    if call.minor >= since.HOST_STATUS:
        document["host_status"] = _host_status(call, server, host)


def _add_newer(call: Call, document: Document, server: Server, *, alone: bool) -> None:
    minor = call.minor
    if minor >= since.LOCKED:
        document["locked"] = server.lock is not None
    if minor >= since.DESCRIPTION:
        document["description"] = server.description
    if minor >= since.TAGS:
        document["tags"] = list(server.tags)
    if minor >= since.TRUSTED_CERTIFICATES:
        document["trusted_image_certificates"] = None
    if minor >= since.SERVER_GROUPS and alone:
        document["server_groups"] = _groups(call, server)
    if minor >= since.LOCKED_REASON:
        document["locked_reason"] = server.lock.reason if server.lock else None
    if minor >= since.PINNED_ZONE:
        document["pinned_availability_zone"] = server.requested_zone
    if minor >= since.SCHEDULER_HINTS:
        document["scheduler_hints"] = _hints(server)


def _groups(call: Call, server: Server) -> list[str]:
    """Its group, if that was not deleted."""
    if server.group is None:
        return []
    groups = call.services.registry.of(server_group.KIND, server.project_id)
    return [server.group.group_id] if groups and server.group.group_id in groups.by_id else []


def _hints(server: Server) -> Document:
    """As Nova has them: a single value is no list."""
    return {name: values[0] if len(values) == 1 else list(values) for name, values in server.hints.items()}


def host_hash(project_id: str, host: str | None) -> str:
    """Tells a tenant whether two of its servers share a host, without telling which."""
    if not host:
        return ""
    return hashlib.sha224(f"{project_id}{host}".encode(), usedforsecurity=False).hexdigest()


def addresses(server: Server) -> dict[str, list[Document]]:
    """The addresses by network name."""
    networks: dict[str, list[Document]] = {}
    for nic in server.nics:
        networks.setdefault(nic.network_name, []).append(
            {
                "version": 4,
                "addr": nic.ip_address,
                "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": nic.mac_address,
            }
        )
    return networks


def plain_addresses(nics: tuple[Nic, ...]) -> dict[str, list[Document]]:
    """The addresses by network name, as ``/ips`` shows them."""
    networks: dict[str, list[Document]] = {}
    for nic in nics:
        networks.setdefault(nic.network_name, []).append({"version": 4, "addr": nic.ip_address})
    return networks


def _image(call: Call, server: Server) -> Document | str:
    if server.image is None:
        return ""
    document: Document = {"id": server.image.id, "links": [bookmark(call, "images", server.image.id)]}
    if call.minor >= since.IMAGE_PROPERTIES:
        document["properties"] = server.image.properties
    return document


def _flavor(call: Call, flavor: Flavor) -> Document:
    if call.minor < since.FLAVOR_IN_SERVER:
        return {"id": flavor.id, "links": [bookmark(call, "flavors", flavor.id)]}
    return {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram_mb,
        "disk": flavor.disk_gb,
        "ephemeral": flavor.ephemeral_gb,
        "swap": flavor.swap_mb,
        "original_name": flavor.name,
        "extra_specs": flavor.extra_specs,
    }


def _fault(call: Call, server: Server) -> Document:
    assert server.fault
    assert server.fault_at
    document: Document = {
        "code": server.fault.code,
        "created": seconds(server.fault_at),
        "message": server.fault.message,
    }
    if call.is_admin and server.fault.details:
        document["details"] = server.fault.details
    return document


def _host_status(call: Call, server: Server, host: Host | None) -> str:
    if not server.host:
        return ""
    if host and host.forced_down:
        return "DOWN"
    if host is None or not call.services.liveness.host_up(server.host):
        return "UNKNOWN"
    return "UP" if host.enabled else "MAINTENANCE"
