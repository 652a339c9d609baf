"""Networks of the embedded network service: one subnet each, and the ports on it.

A network with its ports is one aggregate: an address is given out once, under any concurrency.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from domain.errors import Invalid, Refused, not_found
from domain.guest import Nic
from domain.log.batch import Change, Journal, Undo, apply_all, journaled
from domain.log.kind import EVERY, Batching, Kind, of_project, unfoldable
from domain.log.record import AggregateId, Event, Metadata
from domain.server.limits import MAX_INTERFACES

GATEWAY_OFFSET = 1
DHCP_OFFSET = 2
FIRST_FREE_OFFSET = 3


class PortCreated(Change, tag="port_created", frozen=True, kw_only=True):
    """A server got an address here. ``index`` is the place of the interface among the server's."""

    port_id: str
    server_id: str
    cell: str
    """Where the server is."""
    project_id: str
    index: int
    mac_address: str
    ip_address: str


class PortDeleted(Change, tag="port_deleted", frozen=True, kw_only=True):
    """The address is free again."""

    port_id: str
    server_id: str


PortChange = PortCreated | PortDeleted


class NetworkCreated(Event, tag="network.created", frozen=True, kw_only=True):
    """A network with its one subnet."""

    network_id: str
    name: str
    project_id: str
    subnet_id: str
    cidr: str
    shared: bool = False
    mtu: int = 1400
    dns_nameservers: tuple[str, ...] = ()


class NetworkDeleted(Event, tag="network.deleted", frozen=True, kw_only=True):
    """The network is gone."""


class PortsChanged(Event, tag="network.ports_changed", frozen=True, kw_only=True):
    """Everything that one writer changed at once, in order."""

    changes: tuple[PortChange, ...]


class Network:
    """A network, its ports by id, and the addresses taken."""

    def __init__(self, created: NetworkCreated, at: datetime) -> None:
        self.id = created.network_id
        self.name = created.name
        self.project_id = created.project_id
        self.subnet_id = created.subnet_id
        self.cidr = IPv4Network(created.cidr)
        self.shared = created.shared
        self.mtu = created.mtu
        self.dns_nameservers = created.dns_nameservers
        self.created_at = at
        self.deleted = False
        self.ports: dict[str, PortCreated] = {}
        self._by_server: dict[tuple[str, int], PortCreated] = {}
        self._by_project: dict[str, dict[str, PortCreated]] = {}
        self._taken: set[str] = set()
        """Addresses and MAC addresses of the ports."""
        self._next = FIRST_FREE_OFFSET

    @property
    def gateway_ip(self) -> str:
        """The subnet's first address."""
        return str(self.cidr[GATEWAY_OFFSET])

    def of_server(self, server_id: str, index: int) -> PortCreated | None:
        """The port of a server's interface."""
        return self._by_server.get((server_id, index))

    def ports_of(self, server_id: str) -> Iterator[PortCreated]:
        """The ports of a server's interfaces."""
        known = (self.of_server(server_id, index) for index in range(MAX_INTERFACES))
        return (port for port in known if port)

    def ports_in(self, project_id: str) -> Iterable[PortCreated]:
        """The ports of a project's servers; costs what it returns."""
        return self._by_project.get(project_id, {}).values()

    def holds(self, server_id: str) -> bool:
        """Whether any interface of a server has a port here."""
        return any(self.ports_of(server_id))

    def apply(self, change: PortChange) -> Undo:
        return journaled(partial(self._make, change))

    def _make(self, change: PortChange, journal: Journal) -> None:
        if isinstance(change, PortCreated):
            journal.put(self.ports, change.port_id, change)
            journal.put(self._by_server, (change.server_id, change.index), change)
            if change.project_id not in self._by_project:
                journal.put(self._by_project, change.project_id, {})
            journal.put(self._by_project[change.project_id], change.port_id, change)
            journal.join(self._taken, change.ip_address)
            journal.join(self._taken, change.mac_address)
            if is_address(change.ip_address):
                offset = int(IPv4Address(change.ip_address)) - int(self.cidr.network_address)
                journal.assign(self, "_next", offset + 1)
            return
        port = journal.drop(self.ports, change.port_id)
        journal.drop(self._by_server, (port.server_id, port.index))
        journal.drop(self._by_project[port.project_id], port.port_id)
        journal.leave(self._taken, port.ip_address)
        journal.leave(self._taken, port.mac_address)

    def free_address(self) -> str:
        """An address nobody has; they are handed out in turn, so that a freed one rests a while."""
        count = self.cidr.num_addresses - FIRST_FREE_OFFSET - 1
        for step in range(count):
            offset = FIRST_FREE_OFFSET + (self._next - FIRST_FREE_OFFSET + step) % count
            address = str(self.cidr[offset])
            if address not in self._taken:
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

    def has(self, address: str) -> bool:
        """Whether a port has this address."""
        return address in self._taken

    def nic(self, port: PortCreated) -> Nic:
        """The port as a host is told of it."""
        return Nic(
            port_id=port.port_id,
            network_id=self.id,
            network_name=self.name,
            mac_address=port.mac_address,
            ip_address=port.ip_address,
            cidr=str(self.cidr),
            gateway_ip=self.gateway_ip,
            dhcp_ip=str(self.cidr[DHCP_OFFSET]),
            dns_nameservers=self.dns_nameservers,
            mtu=self.mtu,
        )


def aggregate(network_id: str) -> AggregateId:
    return AggregateId("network", network_id)


def create(network: Network | None, event: NetworkCreated) -> NetworkCreated:
    """Make a network under a new id."""
    if network is not None:
        raise Refused("network.exists", f"Network {event.network_id} already exists.")
    try:
        subnet = IPv4Network(event.cidr)
    except ValueError as error:
        raise Invalid(f"Invalid input for cidr. Reason: {error}.") from None
    if subnet.num_addresses <= FIRST_FREE_OFFSET + 1:
        raise Invalid(f"Invalid input for cidr. Reason: {event.cidr} has no room for a port.")
    return event


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
            request_id=request_id,
        ),
    )


def is_address(text: str) -> bool:
    """Whether it still is an address. What is told of one that was erased is none."""
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def check_fixed_ip(network: Network, ip_address: str) -> None:
    """Raise Invalid for an address that no port of the network can have: one outside, or the gateway's, the DHCP
    server's, the network's or the broadcast address; and Refused (400) for one that is taken."""
    try:
        offset = int(IPv4Address(ip_address)) - int(network.cidr.network_address)
    except ValueError:
        offset = -1
    if not FIRST_FREE_OFFSET <= offset < network.cidr.num_addresses - 1:
        raise Invalid(f"Fixed IP address {ip_address} is not a valid ip address for network {network.id}.")
    if network.has(ip_address):
        raise Refused("network.address_in_use", f"Fixed IP address {ip_address} is already in use.", status=400)


def release(network: Network, server_id: str, count: int, request_id: str | None) -> tuple[PortDeleted, ...]:
    """Free the addresses of a server's first ``count`` interfaces; nothing to do if it has none here."""
    ports: Sequence[PortCreated | None] = [network.of_server(server_id, index) for index in range(count)]
    return tuple(
        PortDeleted(port_id=port.port_id, server_id=server_id, request_id=request_id) for port in ports if port
    )


def evolve(state: Network | None, event: Event, meta: Metadata) -> Network:
    """Fold one event, in place."""
    if isinstance(event, NetworkCreated):
        return Network(event, meta.time)
    assert state is not None
    match event:
        case NetworkDeleted():
            state.deleted = True
        case PortsChanged():
            apply_all(state, event.changes)
        case _:
            raise unfoldable(event)
    return state


SHARED = "shared"
"""The list of the networks that every project may use."""


def of_range(cidr: IPv4Network) -> str:
    """The list of the networks that have exactly this range."""
    return f"range {cidr}"


def lists(network: Network) -> tuple[str, ...]:
    """Where a network is found: with its project's, with those of its range, and perhaps with the shared ones."""
    if network.deleted:
        return ()
    shared = (SHARED,) if network.shared else ()
    return (EVERY, of_project(network.project_id), of_range(network.cidr), *shared)


KIND = Kind(
    "network",
    (NetworkCreated, NetworkDeleted, PortsChanged),
    evolve,
    lists,
    batching=Batching(lambda changes: PortsChanged(changes=changes)),
)
