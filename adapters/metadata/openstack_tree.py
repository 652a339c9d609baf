"""``/openstack``: Nova's own tree, with what each of its versions has.

https://docs.openstack.org/nova/latest/user/metadata.html
"""

import base64
import os
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import msgspec

from adapters.libvirt.domain_xml import tap_name
from domain.guest import Nic
from domain.server.state import Server, guest_name
from handlers.servers.guest_secrets import Secrets

Json = dict[str, Any]

HAVANA, LIBERTY, NEWTON, NEWTON_2, VICTORIA = "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2020-10-14"
LATEST = "latest"
VERSIONS = (
    "2012-08-10",
    "2013-04-04",
    HAVANA,
    LIBERTY,
    NEWTON,
    NEWTON_2,
    "2017-02-22",
    "2018-08-27",
    VICTORIA,
    LATEST,
)
"""In order; ``latest`` sorts behind every date."""
SEED_BYTES = 512
encode = msgspec.json.encode


def index(version: str) -> list[str]:
    """The documents of a version."""
    found = ["meta_data.json", "user_data"]
    if version >= HAVANA:
        found += ["password", "vendor_data.json"]
    if version >= LIBERTY:
        found.append("network_data.json")
    if version >= NEWTON_2:
        found.append("vendor_data2.json")
    return found


def meta_data(server: Server, secrets: Secrets, version: str, *, admin_pass: bool = False) -> Json:
    """``meta_data.json``. The password that was asked for is told on a config drive only, as Nova does."""
    document: Json = {
        "uuid": server.id,
        "hostname": guest_name(server),
        "name": server.name,
        "launch_index": server.launch_index,
        "availability_zone": server.availability_zone,
    }
    if server.metadata:
        document["meta"] = server.metadata
    if server.public_key:
        document["public_keys"] = {server.key_name: server.public_key}
    if secrets.personality:
        document["files"] = [
            {"content_path": f"/content/{number:04}", "path": file.path}
            for number, file in enumerate(secrets.personality)
        ]
    if admin_pass and secrets.admin_pass:
        document["admin_pass"] = secrets.admin_pass
    if version >= HAVANA:
        document["random_seed"] = base64.b64encode(os.urandom(SEED_BYTES)).decode()
        if server.public_key:
            document["keys"] = [{"name": server.key_name, "type": "ssh", "data": server.public_key}]
    if version >= LIBERTY:
        document["project_id"] = server.project_id
    if version >= NEWTON:
        document["devices"] = []
    if version >= VICTORIA:
        document["dedicated_cpus"] = []
    return document


def network_data(nics: tuple[Nic, ...]) -> Json:
    """``network_data.json``: the interfaces, and how each gets its address."""
    services = [
        {"type": "dns", "address": address}
        for address in dict.fromkeys(address for nic in nics for address in nic.dns_nameservers)
    ]
    links = [
        {
            "id": tap_name(nic.port_id),
            "vif_id": nic.port_id,
            "type": "bridge",
            "mtu": None if nic.dhcp_ip else nic.mtu,  # what DHCP tells is not told twice
            "ethernet_mac_address": nic.mac_address,
        }
        for nic in nics
    ]
    networks = [_network(number, nic) for number, nic in enumerate(nics)]
    return {"links": links, "networks": networks, "services": services}


def _network(number: int, nic: Nic) -> Json:
    kind = f"ipv{ip_network(nic.cidr).version}"
    network: Json = {
        "id": f"network{number}",
        "type": f"{kind}_dhcp" if nic.dhcp_ip else kind,
        "link": tap_name(nic.port_id),
        "network_id": nic.network_id,
    }
    if nic.dhcp_ip is None:
        anywhere = {"network": "0.0.0.0", "netmask": "0.0.0.0"}  # noqa: S104 - a route, not a listener
        network |= {
            "ip_address": nic.ip_address,
            "netmask": str(ip_network(nic.cidr).netmask),
            "routes": [anywhere | {"gateway": nic.gateway_ip}] * bool(nic.gateway_ip) + _routes(nic),
            "services": [{"type": "dns", "address": address} for address in nic.dns_nameservers],
        }
    return network


def _routes(nic: Nic) -> list[Json]:
    ways = [(ip_network(route.destination), route.nexthop) for route in nic.host_routes or ()]
    return [
        {"network": str(to.network_address), "netmask": str(to.netmask), "gateway": gateway} for to, gateway in ways
    ]


def user_data(secrets: Secrets) -> bytes | None:
    """What the user gave, as it was before its base64."""
    return None if secrets.user_data is None else base64.b64decode(secrets.user_data)


def content(secrets: Secrets, name: str) -> bytes | None:
    """A file under ``/openstack/content``."""
    for number, file in enumerate(secrets.personality):
        if name == f"{number:04}":
            return base64.b64decode(file.contents)
    return None


def config_drive(
    server: Server, secrets: Secrets, vendor: Mapping[str, Any], vendor2: Mapping[str, Any]
) -> dict[str, bytes]:
    """Every file of a config drive, by its path: the same content in the places where guests look for it."""
    files: dict[str, bytes] = {}
    given = user_data(secrets)
    for version in VERSIONS:
        place = f"openstack/{version}"
        files[f"{place}/meta_data.json"] = encode(meta_data(server, secrets, version, admin_pass=True))
        if given is not None:
            files[f"{place}/user_data"] = given
        if version >= HAVANA:
            files[f"{place}/vendor_data.json"] = encode(vendor)
        if version >= LIBERTY:
            files[f"{place}/network_data.json"] = encode(network_data(server.nics))
        if version >= NEWTON_2:
            files[f"{place}/vendor_data2.json"] = encode(vendor2)
    for number in range(len(secrets.personality)):
        files[f"openstack/content/{number:04}"] = content(secrets, f"{number:04}") or b""
    return files
