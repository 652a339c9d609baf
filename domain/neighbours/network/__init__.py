"""Networks of the embedded network service, their subnets, and the ports on them.

A network with all of these is one aggregate: an address is given out once, under any concurrency.
"""

from domain.log.kind import EVERY, Batching, Kind, of_project
from domain.log.record import AggregateId
from domain.neighbours.network.changes import (
    NetworkChanged,
    NetworkCreated,
    NetworkDeleted,
    PortChange,
    PortCreated,
    PortDeleted,
    PortsChanged,
    SubnetChanged,
    SubnetCreated,
    SubnetDeleted,
)
from domain.neighbours.network.decisions import (
    add_subnet,
    allocate,
    change,
    change_subnet,
    check_fixed_ip,
    create,
    delete,
    delete_subnet,
    release,
)
from domain.neighbours.network.state import Network, evolve, is_address
from domain.neighbours.network.subnet import Pool, Subnet, made

__all__ = [
    "KIND", "SHARED", "Network", "NetworkChanged", "NetworkCreated", "NetworkDeleted", "Pool", "PortChange",
    "PortCreated", "PortDeleted", "PortsChanged", "Subnet", "SubnetChanged", "SubnetCreated", "SubnetDeleted",
    "add_subnet", "aggregate", "allocate", "change", "change_subnet", "check_fixed_ip", "create", "delete",
    "delete_subnet", "evolve", "having", "is_address", "lists", "made", "release",
]  # fmt: skip


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
