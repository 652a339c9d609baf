"""Everything that can happen to a network. One event of ports holds what one writer changed at once."""

from domain.log.batch import Change
from domain.log.record import Event
from domain.neighbours.network.subnet import Subnet


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
    """A network, perhaps with a first subnet."""

    network_id: str
    name: str
    project_id: str
    subnet_id: str = ""
    """Empty without one."""
    cidr: str = ""
    shared: bool = False
    mtu: int = 1400
    dns_nameservers: tuple[str, ...] = ()
    description: str = ""


class NetworkChanged(Event, tag="network.changed", frozen=True, kw_only=True):
    """What can be changed of a network is now exactly this."""

    name: str
    description: str
    mtu: int
    shared: bool
    tags: tuple[str, ...]


class SubnetCreated(Event, tag="network.subnet_created", frozen=True, kw_only=True):
    """The network has another subnet."""

    subnet: Subnet


class SubnetChanged(Event, tag="network.subnet_changed", frozen=True, kw_only=True):
    """One of its subnets is now this. Ports that it has stay what they are."""

    subnet: Subnet


class SubnetDeleted(Event, tag="network.subnet_deleted", frozen=True, kw_only=True):
    """It has that subnet no more."""

    subnet_id: str


class NetworkDeleted(Event, tag="network.deleted", frozen=True, kw_only=True):
    """The network is gone."""


class PortsChanged(Event, tag="network.ports_changed", frozen=True, kw_only=True):
    """Everything that one writer changed at once, in order."""

    changes: tuple[PortChange, ...]
