"""Everything that can happen to a network. One event of ports holds what one writer changed at once."""

from datetime import datetime

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
    asked: bool = False
    """Whether that address was asked for, so that it was nobody's turn."""


class PortDeleted(Change, tag="port_deleted", frozen=True, kw_only=True):
    """The address is free again. ``server_id`` is empty if no server had the port."""

    port_id: str
    server_id: str


class PortMade(Change, tag="port_made", frozen=True, kw_only=True):
    """A project has a port of its own, which outlives the servers that it is given to."""

    port_id: str
    project_id: str
    made_at: datetime
    mac_address: str
    fixed_ip: str
    asked: bool = False
    """Whether that address was asked for, so that it was nobody's turn."""
    name: str = ""
    description: str = ""
    device_id: str = ""
    device_owner: str = ""


class PortUpdated(Change, tag="port_updated", frozen=True, kw_only=True):
    """What can be changed of a port of a project's own is now exactly this."""

    port_id: str
    name: str
    description: str
    device_id: str
    device_owner: str


class PortBound(Change, tag="port_bound", frozen=True, kw_only=True):
    """A port of a project's own is an interface of a server."""

    port_id: str
    server_id: str
    cell: str
    index: int


class PortUnbound(Change, tag="port_unbound", frozen=True, kw_only=True):
    """It is nobody's interface again."""

    port_id: str
    server_id: str


PortChange = PortCreated | PortDeleted | PortMade | PortUpdated | PortBound | PortUnbound


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
