"""Networks of the embedded network service, their subnets, and the ports on them.

A network with all of these is one aggregate: an address is given out once, under any concurrency.
"""

from domain.log.kind import EVERY, Batching, Kind, of_project
from domain.log.record import AggregateId
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
from domain.neighbours.network.decisions import (
    Said,
    add_subnet,
    allocate,
    bind,
    change,
    change_subnet,
    check_fixed_ip,
    check_free,
    create,
    delete,
    delete_port,
    delete_subnet,
    make_port,
    release,
    update_port,
)
from domain.neighbours.network.state import Network, Own, Port, evolve, is_address
from domain.neighbours.network.subnet import Pool, Subnet, made

__all__ = [
    "KIND",
    "SHARED",
    "Network",
    "NetworkChanged",
    "NetworkCreated",
    "NetworkDeleted",
    "Own",
    "Pool",
    "Port",
    "PortBound",
    "PortChange",
    "PortCreated",
    "PortDeleted",
    "PortMade",
    "PortUnbound",
    "PortUpdated",
    "PortsChanged",
    "Said",
    "Subnet",
    "SubnetChanged",
    "SubnetCreated",
    "SubnetDeleted",
    "add_subnet",
    "aggregate",
    "allocate",
    "bind",
    "change",
    "change_subnet",
    "check_fixed_ip",
    "check_free",
    "create",
    "delete",
    "delete_port",
    "delete_subnet",
    "evolve",
    "having",
    "is_address",
    "lists",
    "made",
    "make_port",
    "release",
    "update_port",
]


def aggregate(network_id: str) -> AggregateId:
    return AggregateId("network", network_id)


SHARED = "shared"
"""The list of the networks that every project may use."""


def having(subnet_id: str) -> str:
    """The list of the network that has the subnet."""
    return f"subnet {subnet_id}"


def lists(network: Network) -> tuple[str, ...]:
    """Where a network is found: with its project's, by its subnets, and perhaps with the shared ones."""
    if network.deleted:
        return ()
    shared = (SHARED,) if network.shared else ()
    return (EVERY, of_project(network.project_id), *map(having, network.subnets), *shared)


KIND = Kind(
    "network",
    (
        NetworkCreated,
        NetworkChanged,
        NetworkDeleted,
        SubnetCreated,
        SubnetChanged,
        SubnetDeleted,
        PortsChanged,
    ),
    evolve,
    lists,
    batching=Batching(lambda changes: PortsChanged(changes=changes)),
)
