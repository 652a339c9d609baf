"""What may be done with a network, its subnets and its ports."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from domain.errors import Invalid, Refused, not_found
from domain.neighbours.network import subnet as subnets
from domain.neighbours.network.changes import (
    NetworkChanged,
    NetworkCreated,
    NetworkDeleted,
    PortBound,
    PortCreated,
    PortDeleted,
    PortMade,
    PortUnbound,
    PortUpdated,
    SubnetChanged,
    SubnetCreated,
    SubnetDeleted,
)
from domain.neighbours.network.state import Network, Own, Port
from domain.neighbours.network.subnet import Subnet


class Said(NamedTuple):
    """What is said of a port; see Own."""

    name: str = ""
    description: str = ""
    device_id: str = ""
    device_owner: str = ""


def create(network: Network | None, event: NetworkCreated) -> NetworkCreated:
    """Make a network under a new id."""
    if network is not None:
        raise Refused("network.exists", f"Network {event.network_id} already exists.")
    if event.subnet_id:
        subnets.check_range(event.cidr)
    return event


def change(network: Network | None, edit: Callable[[Network], NetworkChanged]) -> NetworkChanged | None:
    """Change it; None if it is so. Raises Refused (404; 409 for one that others use)."""
    network = _living(network)
    event = edit(network)
    if (
        network.shared
        and not event.shared
        and any(port.project_id != network.project_id for port in network.ports.values())
    ):
        raise Refused(
            "invalid_shared_setting",
            f"Unable to reconfigure sharing settings for network {network.name}. Multiple tenants are using it.",
        )
    present = (network.name, network.description, network.mtu, network.shared, network.tags)
    return None if (event.name, event.description, event.mtu, event.shared, event.tags) == present else event


def add_subnet(network: Network | None, subnet: Subnet) -> SubnetCreated:
    """Have another subnet. Raises Refused (404), and Invalid for a range that overlaps another's."""
    network = _living(network)
    for other in network.subnets.values():
        if other.range.overlaps(subnet.range):
            raise Invalid(
                f"Invalid input for operation: Requested subnet with cidr: {subnet.cidr} for network: {network.id} "
                f"overlaps with another subnet."
            )
    return SubnetCreated(subnet=subnet)


def change_subnet(
    network: Network | None, subnet_id: str, edit: Callable[[Subnet], Subnet], *, has_dhcp: bool | None = None
) -> SubnetChanged | None:
    """Change a subnet; None if it is so. Its range and its DHCP server's address are never another; ``has_dhcp`` says
    whether it has one, None leaves it so. Raises Refused (404, 409), and Invalid."""
    present = _subnet(_living(network), subnet_id)
    assert network
    wanted = edit(present)
    subnets.check(wanted)
    has_dhcp = present.dhcp_ip is not None if has_dhcp is None else has_dhcp
    gateway = wanted.gateway_ip
    if gateway is not None and gateway != present.gateway_ip and (network.has(gateway) or gateway == present.dhcp_ip):
        raise Refused(
            "gateway_ip_in_use", f"Current gateway ip {gateway} already in use by a port. Unable to update."
        )
    changed = replace(wanted, dhcp_ip=present.dhcp_ip, former_dhcp_ip=present.former_dhcp_ip)
    if not has_dhcp:
        changed = replace(changed, dhcp_ip=None, former_dhcp_ip=present.dhcp_ip or present.former_dhcp_ip)
    if has_dhcp:
        changed = subnets.with_dhcp(changed, (port.ip_address for port in network.ports_on(present)))
    return None if changed == present else SubnetChanged(subnet=changed)


def delete_subnet(network: Network | None, subnet_id: str) -> SubnetDeleted:
    """Have it no more. Raises Refused (404; 409 while a port has an address of it)."""
    present = _subnet(_living(network), subnet_id)
    assert network
    if network.is_used(present):
        raise Refused(
            "subnet_in_use",
            f"Unable to complete operation on subnet {subnet_id}: One or more ports have an IP allocation from this "
            "subnet.",
        )
    return SubnetDeleted(subnet_id=subnet_id)


def _living(network: Network | None) -> Network:
    if network is None or network.deleted:
        raise Refused("network_not_found", "The network could not be found.", status=404)
    return network


def _subnet(network: Network, subnet_id: str) -> Subnet:
    if subnet_id not in network.subnets:
        raise Refused("subnet_not_found", f"Subnet {subnet_id} could not be found.", status=404)
    return network.subnets[subnet_id]


def delete(network: Network | None) -> NetworkDeleted | None:
    """Delete a network that no server uses; None if it is gone."""
    if network is None or network.deleted:
        return None
    if network.ports:
        raise Refused(
            "network.in_use",
            f"Unable to complete operation on network {network.id}. There are one or more ports still in use on the "
            "network.",
        )
    return NetworkDeleted()


def allocate(
    network: Network, *, port_id: str, server_id: str, cell: str, project_id: str, index: int,
    ip_address: str | None = None, request_id: str | None = None,
) -> tuple[PortCreated, ...]:  # fmt: skip
    """Give a server's interface an address; nothing to do if it has one."""
    if network.of_server(server_id, index):
        return ()
    if network.deleted:
        raise not_found("Network", network.id)
    if ip_address is not None:
        check_fixed_ip(network, ip_address)
    return (
        PortCreated(
            port_id=port_id,
            server_id=server_id,
            cell=cell,
            project_id=project_id,
            index=index,
            mac_address=network.free_mac_address(port_id),
            ip_address=ip_address or network.free_address(),
            asked=ip_address is not None,
            request_id=request_id,
        ),
    )


def check_fixed_ip(network: Network, ip_address: str) -> None:
    """Raise Invalid for an address that no port of the network can have: one outside, or the gateway's, the DHCP
    server's, the network's or the broadcast address; and Refused (400) for one that is taken."""
    subnet = network.subnet_with(ip_address)
    if subnet is None or not subnet.serves(ip_address):
        raise Invalid(f"Fixed IP address {ip_address} is not a valid ip address for network {network.id}.")
    if network.has(ip_address):
        raise Refused("network.address_in_use", f"Fixed IP address {ip_address} is already in use.", status=400)


def release(
    network: Network, server_id: str, count: int, request_id: str | None
) -> tuple[PortDeleted | PortUnbound, ...]:
    """Free the addresses of a server's first ``count`` interfaces, or leave them to ports of a project's own; nothing
    to do if it has none here."""
    ports: Sequence[Port | None] = [network.of_server(server_id, index) for index in range(count)]
    return tuple(
        (PortUnbound if port.own else PortDeleted)(port_id=port.id, server_id=server_id, request_id=request_id)
        for port in ports
        if port
    )


def make_port(
    network: Network | None,
    *,
    port_id: str,
    project_id: str,
    now: datetime,
    said: Said,
    mac_address: str | None = None,
    subnet_id: str | None = None,
    ip_address: str | None = None,
    request_id: str | None = None,
) -> tuple[PortMade, ...]:
    """Have a port of a project's own, with an address of the subnet, or of any, if none is given. Raises Invalid, and
    Refused (404, 409)."""
    network = _living(network)
    if ip_address is not None:
        check_fixed_ip(network, ip_address)
    subnet = _subnet(network, subnet_id) if subnet_id is not None else None
    if subnet and ip_address is not None and not subnet.serves(ip_address):
        raise Invalid(f"IP address {ip_address} is not a valid IP for the specified subnet.")
    if mac_address is not None and network.has(mac_address):
        raise Refused(
            "mac_address_in_use",
            f"Unable to complete operation for network {network.id}. The mac address {mac_address} is in use.",
        )
    return (
        PortMade(
            port_id=port_id, project_id=project_id, made_at=now, request_id=request_id,
            mac_address=mac_address or network.free_mac_address(port_id),
            fixed_ip=ip_address or network.free_address(subnet), asked=ip_address is not None, **said._asdict(),
        ),
    )  # fmt: skip


def update_port(
    network: Network | None, port_id: str, edit: Callable[[Own], Said], request_id: str | None = None
) -> tuple[PortUpdated, ...]:
    """Change what is said of a port; nothing to do if it is so. Raises Refused (404; 409 for a server's)."""
    port = _port(network, port_id)
    own = _own(port)
    said = edit(own)
    if said == Said(own.name, own.description, own.device_id, own.device_owner):
        return ()
    if port.server_id is not None and (said.device_id, said.device_owner) != (own.device_id, own.device_owner):
        raise Refused("port_in_use", f"Port {port_id} is an interface of server {port.server_id}, and of no other.")
    return (PortUpdated(port_id=port_id, request_id=request_id, **said._asdict()),)


def delete_port(network: Network | None, port_id: str, request_id: str | None = None) -> tuple[PortDeleted, ...]:
    """Have it no more. Raises Refused (404; 409 while a server has it)."""
    port = _port(network, port_id)
    if port.server_id is not None:
        raise Refused("port_in_use", f"Port {port_id} is an interface of server {port.server_id}.")
    return (PortDeleted(port_id=port_id, server_id="", request_id=request_id),)


def bind(
    network: Network | None, port_id: str, *, server_id: str, cell: str, index: int, request_id: str | None = None
) -> tuple[PortBound, ...]:
    """Have a port as a server's interface; nothing to do if it is. Raises Refused (404; 409 if another has it)."""
    port = _port(network, port_id)
    if (port.server_id, port.index) == (server_id, index):
        return ()
    check_free(port)
    return (PortBound(port_id=port_id, server_id=server_id, cell=cell, index=index, request_id=request_id),)


def check_free(port: Port) -> None:
    """Raises Refused (409) for a port that somebody has."""
    if port.server_id is not None or (port.own and port.own.device_id):
        raise Refused("port.in_use", f"Port {port.id} is still in use.")


def _port(network: Network | None, port_id: str) -> Port:
    network = _living(network)
    if port_id not in network.ports:
        raise Refused("port_not_found", f"Port {port_id} could not be found.", status=404)
    return network.ports[port_id]


def _own(port: Port) -> Own:
    if port.own is None:
        raise Refused(
            "port_of_server", f"Port {port.id} was made with server {port.server_id}, and is changed by it alone."
        )
    return port.own
