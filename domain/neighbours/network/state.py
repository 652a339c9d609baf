"""A network as its events have made it."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from domain.errors import Refused, not_found
from domain.guest import Nic
from domain.log.batch import Journal, Undo, apply_all, journaled
from domain.log.kind import unfoldable
from domain.log.record import Event, Metadata
from domain.neighbours.network.changes import (
    NetworkChanged,
    NetworkCreated,
    NetworkDeleted,
    PortBound,
    PortChange,
    PortCreated,
    PortDeleted,
    PortMade,
    PortsChanged,
    PortUnbound,
    PortUpdated,
    SubnetChanged,
    SubnetCreated,
    SubnetDeleted,
)
from domain.neighbours.network.subnet import Pool, Subnet
from domain.server.limits import MAX_INTERFACES

GATEWAY_OFFSET, DHCP_OFFSET, FIRST_FREE_OFFSET = 1, 2, 3
"""In the subnet that a network is made with."""


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A port: of a server, with which it comes and goes; or of a project's own, which a server may be given."""

    id: str
    project_id: str
    mac_address: str
    ip_address: str
    server_id: str | None = None
    """Whose interface it is."""
    index: int = 0
    """Its place among the server's."""
    cell: str | None = None
    """Where the server is."""
    own: "Own | None" = None
    """What is said of it, if it is a project's own."""


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What a project says of a port of its own."""

    made_at: datetime
    name: str
    description: str
    device_id: str
    """Whose it is, where that is no server of ours."""
    device_owner: str


class Stamp(NamedTuple):
    """When a network or a subnet was made and last changed, and how often."""

    created_at: datetime
    updated_at: datetime
    revision: int = 1

    def changed(self, at: datetime) -> "Stamp":
        return Stamp(self.created_at, at, self.revision + 1)


class Network:
    """A network, its subnets and ports by id, and the addresses taken."""

    def __init__(self, created: NetworkCreated, at: datetime) -> None:
        self.id = created.network_id
        self.name = created.name
        self.project_id = created.project_id
        self.shared = created.shared
        self.mtu = created.mtu
        self.description = created.description
        self.tags: tuple[str, ...] = ()
        self.stamp = Stamp(at, at)
        self.deleted = False
        self.subnets: dict[str, Subnet] = {}
        self.stamps: dict[str, Stamp] = {}
        """Of the subnets."""
        if created.subnet_id:
            self.subnets[created.subnet_id] = _first_subnet(created)
            self.stamps[created.subnet_id] = self.stamp
        self.ports: dict[str, Port] = {}
        self._by_server: dict[tuple[str, int], Port] = {}
        self._by_project: dict[str, dict[str, Port]] = {}
        self._by_device: dict[str, dict[str, Port]] = {}
        """Those of a project's own of which it says whose they are."""
        self._taken: set[str] = set()
        """Addresses and MAC addresses of the ports."""
        self._used: dict[str, int] = {}
        """Ports by subnet."""
        self._own: dict[str, int] = {}
        """Ports of a project's own, by project."""
        self._next: dict[str, int] = {}
        """By subnet, where in its pools the next address is looked for."""

    def subnet_with(self, address: str) -> Subnet | None:
        """The subnet in whose range an address is."""
        if not is_address(address):
            return None
        found = IPv4Address(address)
        return next((subnet for subnet in self.subnets.values() if found in subnet.range), None)

    def is_used(self, subnet: Subnet) -> bool:
        """Whether a port has an address of it."""
        return self._used.get(subnet.id, 0) > 0

    def own_ports(self, project_id: str) -> int:
        """How many ports of its own a project has here."""
        return self._own.get(project_id, 0)

    def ports_on(self, subnet: Subnet) -> Iterator[Port]:
        """The ports with an address of a subnet."""
        return (port for port in self.ports.values() if self.subnet_with(port.ip_address) is subnet)

    def of_server(self, server_id: str, index: int) -> Port | None:
        """The port of a server's interface."""
        return self._by_server.get((server_id, index))

    def ports_of(self, server_id: str) -> Iterator[Port]:
        """The ports of a server's interfaces."""
        known = (self.of_server(server_id, index) for index in range(MAX_INTERFACES))
        return (port for port in known if port)

    def ports_in(self, project_id: str) -> Iterable[Port]:
        """The ports of a project and of its servers; costs what it returns."""
        return self._by_project.get(project_id, {}).values()

    def held_by(self, device_id: str) -> Iterator[Port]:
        """The ports of a server's interfaces, and those of a project's own that are said to be a device's."""
        yield from self.ports_of(device_id)
        yield from (port for port in self._by_device.get(device_id, {}).values() if port.server_id is None)

    def holds(self, server_id: str) -> bool:
        """Whether any interface of a server has a port here."""
        return any(self.ports_of(server_id))

    def apply(self, change: PortChange) -> Undo:
        return journaled(partial(self._make, change))

    def _make(self, change: PortChange, journal: Journal) -> None:
        match change:
            case PortCreated():
                port = Port(
                    id=change.port_id, project_id=change.project_id, mac_address=change.mac_address,
                    ip_address=change.ip_address, server_id=change.server_id, index=change.index, cell=change.cell,
                )  # fmt: skip
                self._take(journal, port, in_turn=not change.asked)
            case PortMade():
                own = Own(
                    made_at=change.made_at, name=change.name, description=change.description,
                    device_id=change.device_id, device_owner=change.device_owner,
                )  # fmt: skip
                port = Port(
                    id=change.port_id, project_id=change.project_id, mac_address=change.mac_address,
                    ip_address=change.fixed_ip, own=own,
                )  # fmt: skip
                self._take(journal, port, in_turn=not change.asked)
            case PortDeleted():
                self._leave(journal, self.ports[change.port_id])
            case PortUpdated():
                port = self.ports[change.port_id]
                assert port.own
                own = Own(
                    made_at=port.own.made_at, name=change.name, description=change.description,
                    device_id=change.device_id, device_owner=change.device_owner,
                )  # fmt: skip
                self._put(journal, msgspec.structs.replace(port, own=own))
            case PortBound():
                port = self.ports[change.port_id]
                bound = {"server_id": change.server_id, "cell": change.cell, "index": change.index}
                self._put(journal, msgspec.structs.replace(port, **bound))
            case PortUnbound():
                port = self.ports[change.port_id]
                journal.drop(self._by_server, (change.server_id, port.index))
                self._put(journal, msgspec.structs.replace(port, server_id=None, cell=None, index=0))

    def _take(self, journal: Journal, port: Port, *, in_turn: bool) -> None:
        if port.project_id not in self._by_project:
            journal.put(self._by_project, port.project_id, {})
        self._put(journal, port)
        journal.join(self._taken, port.ip_address)
        journal.join(self._taken, port.mac_address)
        subnet = self.subnet_with(port.ip_address)
        if subnet:
            journal.put(self._used, subnet.id, self._used.get(subnet.id, 0) + 1)
        if port.own:
            journal.put(self._own, port.project_id, self.own_ports(port.project_id) + 1)
        place = subnet.place_of(port.ip_address) if subnet and in_turn else None
        if subnet and place is not None:
            journal.put(self._next, subnet.id, place + 1)

    def _put(self, journal: Journal, port: Port) -> None:
        self._forget_device(journal, port.id)
        if port.own and port.own.device_id:
            if port.own.device_id not in self._by_device:
                journal.put(self._by_device, port.own.device_id, {})
            journal.put(self._by_device[port.own.device_id], port.id, port)
        journal.put(self.ports, port.id, port)
        journal.put(self._by_project[port.project_id], port.id, port)
        if port.server_id is not None:
            journal.put(self._by_server, (port.server_id, port.index), port)

    def _forget_device(self, journal: Journal, port_id: str) -> None:
        before = self.ports.get(port_id)
        if before and before.own and before.own.device_id:
            journal.drop(self._by_device[before.own.device_id], port_id)
            if not self._by_device[before.own.device_id]:
                journal.drop(self._by_device, before.own.device_id)

    def _leave(self, journal: Journal, port: Port) -> None:
        self._forget_device(journal, port.id)
        journal.drop(self.ports, port.id)
        if port.server_id is not None:
            journal.drop(self._by_server, (port.server_id, port.index))
        journal.drop(self._by_project[port.project_id], port.id)
        if subnet := self.subnet_with(port.ip_address):
            journal.put(self._used, subnet.id, self._used[subnet.id] - 1)
        if port.own:
            journal.put(self._own, port.project_id, self._own[port.project_id] - 1)
        journal.leave(self._taken, port.ip_address)
        journal.leave(self._taken, port.mac_address)

    def free_address(self, wanted: Subnet | None = None) -> str:
        """An address nobody has, of that subnet if one is wanted; they are handed out in turn, so that a freed one
        rests a while. Raises Refused."""
        for subnet in (wanted,) if wanted else self.subnets.values():
            count, start = subnet.addresses, self._next.get(subnet.id, 0)
            for step in range(count):
                address = subnet.at((start + step) % count)
                if address not in self._taken and subnet.serves(address):
                    return address
        raise Refused("network.no_more_addresses", f"No more IP addresses available on network {self.id}.")

    def free_mac_address(self, port_id: str) -> str:
        """A MAC address in Neutron's range fa:16:3e that nobody here has, made from the port's id."""
        digits = port_id.replace("-", "")
        for at in range(len(digits) - 6, -1, -1):
            address = f"fa:16:3e:{digits[at : at + 2]}:{digits[at + 2 : at + 4]}:{digits[at + 4 : at + 6]}"
            if address not in self._taken:
                return address
        raise Refused("network.no_more_addresses", f"No more MAC addresses available on network {self.id}.")

    def forget_turn(self, subnet_id: str) -> None:
        """Of a subnet that is no more."""
        self._next.pop(subnet_id, None)

    def has(self, address: str) -> bool:
        """Whether a port has this address."""
        return address in self._taken

    def nic(self, port: Port) -> Nic:
        """The port as a host is told of it."""
        subnet = self.subnet_with(port.ip_address)
        if subnet is None:
            raise not_found("Subnet", port.ip_address)
        return Nic(
            port_id=port.id,
            network_id=self.id,
            network_name=self.name,
            mac_address=port.mac_address,
            ip_address=port.ip_address,
            cidr=subnet.cidr,
            gateway_ip=subnet.gateway_ip,
            dhcp_ip=subnet.dhcp_ip,
            dns_nameservers=subnet.dns_nameservers,
            mtu=self.mtu,
            host_routes=subnet.host_routes or UNSET,
        )


def _first_subnet(created: NetworkCreated) -> Subnet:
    whole = IPv4Network(created.cidr)
    return Subnet(
        id=created.subnet_id,
        name=f"{created.name}-subnet",
        cidr=str(whole),
        gateway_ip=str(whole[GATEWAY_OFFSET]),
        dhcp_ip=str(whole[DHCP_OFFSET]),
        pools=(Pool(str(whole[FIRST_FREE_OFFSET]), str(whole[-2])),),
        dns_nameservers=created.dns_nameservers,
    )


def is_address(text: str) -> bool:
    """Whether it still is an address. What is told of one that was erased is none."""
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def evolve(state: Network | None, event: Event, meta: Metadata) -> Network:
    """Fold one event, in place."""
    if isinstance(event, NetworkCreated):
        return Network(event, meta.time)
    assert state is not None
    match event:
        case NetworkDeleted():
            state.deleted = True
        case NetworkChanged():
            state.name, state.description, state.mtu = event.name, event.description, event.mtu
            state.shared, state.tags = event.shared, event.tags
            state.stamp = state.stamp.changed(meta.time)
        case SubnetCreated():
            state.subnets[event.subnet.id] = event.subnet
            state.stamps[event.subnet.id] = Stamp(meta.time, meta.time)
        case SubnetChanged():
            state.subnets[event.subnet.id] = event.subnet
            state.stamps[event.subnet.id] = state.stamps[event.subnet.id].changed(meta.time)
        case SubnetDeleted():
            del state.subnets[event.subnet_id]
            del state.stamps[event.subnet_id]
            state.forget_turn(event.subnet_id)
        case PortsChanged():
            apply_all(state, event.changes)
        case _:
            raise unfoldable(event)
    return state
