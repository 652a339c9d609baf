"""Subnets of the embedded network service: a range of IPv4 addresses, and what guests on it are told.

Names are Neutron's (https://docs.openstack.org/api-ref/network/v2/#subnets). What a guest is told is what its subnet
was when its port was made.
"""

from collections.abc import Iterable
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network

import msgspec

from domain.errors import Invalid, Refused
from domain.guest import Route

MAX_POOLS, MAX_NAMESERVERS, MAX_ROUTES = 16, 5, 20
SERVICES = 2
"""Addresses that a range needs beside those of ports: the gateway's and the DHCP server's."""
RESERVED = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))
"""Where no subnet can be: this host, link-local (the metadata service is there), multicast and beyond."""


class Pool(msgspec.Struct, frozen=True):
    """From one address to another, both of them in it."""

    start: str
    end: str

    @property
    def first(self) -> int:
        return int(IPv4Address(self.start))

    @property
    def size(self) -> int:
        return int(IPv4Address(self.end)) - self.first + 1


class Subnet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """A subnet as it was asked for, with what was left open decided."""

    id: str
    name: str
    cidr: str
    gateway_ip: str | None
    pools: tuple[Pool, ...]
    """Where addresses are given out from, in this order."""
    dhcp_ip: str | None
    """The DHCP server's; None where there is none."""
    former_dhcp_ip: str | None = None
    """Where there was one: hosts of older guests may have that address still."""
    dns_nameservers: tuple[str, ...] = ()
    host_routes: tuple[Route, ...] = ()
    description: str = ""
    tags: tuple[str, ...] = ()

    @cached_property
    def range(self) -> IPv4Network:
        return IPv4Network(self.cidr)

    @property
    def addresses(self) -> int:
        """How many the pools have."""
        return sum(pool.size for pool in self.pools)

    def at(self, index: int) -> str:
        """The address at that place of the pools. Raises IndexError."""
        for pool in self.pools:
            if index < pool.size:
                return str(IPv4Address(pool.first + index))
            index -= pool.size
        raise IndexError(index)

    def place_of(self, address: str) -> int | None:
        """Where in the pools it is; None for one that is outside."""
        number, before = int(IPv4Address(address)), 0
        for pool in self.pools:
            if 0 <= number - pool.first < pool.size:
                return before + number - pool.first
            before += pool.size
        return None

    def serves(self, address: str) -> bool:
        """Whether the address is one of this range that a port can have."""
        found = IPv4Address(address)
        taken = (
            self.gateway_ip,
            self.dhcp_ip,
            self.former_dhcp_ip,
            str(self.range.network_address),
            str(self.range.broadcast_address),
        )
        return found in self.range and address not in taken


def check_range(cidr: str) -> IPv4Network:
    """The range, if it is one and has room for a port. Raises Invalid."""
    try:
        whole = IPv4Network(cidr)
    except ValueError as error:
        raise Invalid(f"Invalid input for cidr. Reason: {error}.") from None
    if whole.num_addresses <= SERVICES + 2:
        raise Invalid(f"Invalid input for cidr. Reason: {cidr} has no room for a port.")
    return whole


def made(
    subnet_id: str,
    name: str,
    cidr: str,
    *,
    gateway_ip: str | None = None,
    has_gateway: bool = True,
    pools: Iterable[Pool] | None = None,
    has_dhcp: bool = True,
    dns_nameservers: tuple[str, ...] = (),
    host_routes: tuple[Route, ...] = (),
    description: str = "",
) -> Subnet:
    """A subnet: the first address is the gateway's, and the rest a pool, unless something else is said; the DHCP
    server has the first free address of the pools. Raises Invalid, and Refused (409) for a gateway inside a pool."""
    whole = check_range(cidr)
    if any(whole.overlaps(reserved) for reserved in RESERVED):
        raise Invalid(f"Invalid input for cidr. Reason: {cidr} has addresses that no guest can have.")
    gateway = (gateway_ip or str(whole[1])) if has_gateway else None
    subnet = Subnet(
        id=subnet_id, name=name, cidr=str(whole), gateway_ip=gateway, dhcp_ip=None, host_routes=host_routes,
        pools=tuple(pools) if pools is not None else _around(whole, gateway), dns_nameservers=dns_nameservers,
        description=description,
    )  # fmt: skip
    check(subnet)
    return with_dhcp(subnet, set()) if has_dhcp else subnet


def _around(whole: IPv4Network, gateway: str | None) -> tuple[Pool, ...]:
    """All addresses that a host may have, but the gateway's."""
    first, last = int(whole.network_address) + 1, int(whole.broadcast_address) - 1
    at = int(IPv4Address(gateway)) if gateway else first - 1
    parts = ((first, min(at - 1, last)), (max(at + 1, first), last)) if first <= at <= last else ((first, last),)
    return tuple(Pool(str(IPv4Address(a)), str(IPv4Address(b))) for a, b in parts if a <= b)


def with_dhcp(subnet: Subnet, taken: Iterable[str]) -> Subnet:
    """The subnet with a DHCP server, at the first address of the pools that nobody has. Raises Refused (409)."""
    if subnet.dhcp_ip is not None:
        return subnet
    if subnet.former_dhcp_ip not in (None, subnet.gateway_ip):
        return msgspec.structs.replace(subnet, dhcp_ip=subnet.former_dhcp_ip)
    others = {subnet.gateway_ip, *taken}
    address = next((one for one in map(subnet.at, range(subnet.addresses)) if one not in others), None)
    if address is None:
        raise Refused(
            "ip_address_generation_failure", f"No address of subnet {subnet.id} is left for its DHCP server."
        )
    return msgspec.structs.replace(subnet, dhcp_ip=address)


def check(subnet: Subnet) -> None:
    """Raise Invalid for a subnet that makes no sense, and Refused (409) for a gateway inside a pool."""
    whole, gateway = subnet.range, subnet.gateway_ip
    edges = (whole.network_address, whole.broadcast_address)
    if gateway is not None and (IPv4Address(gateway) not in whole or IPv4Address(gateway) in edges):
        raise Invalid(f"Invalid input for operation: Gateway {gateway} is not valid on subnet {subnet.cidr}.")
    before: list[tuple[int, int]] = []
    for pool in subnet.pools:
        first, last = pool.first, pool.first + pool.size - 1
        if last < first:
            raise Invalid(f"Invalid input for allocation_pools. Reason: {pool.start} is after {pool.end}.")
        if not int(edges[0]) < first <= last < int(edges[1]):
            raise Invalid(
                f"Invalid input for allocation_pools. Reason: {pool.start} to {pool.end} is not inside {subnet.cidr}."
            )
        if gateway is not None and first <= int(IPv4Address(gateway)) <= last:
            raise Refused(
                "gateway_conflict_with_allocation_pools",
                f"Gateway ip {gateway} conflicts with allocation pool {pool.start}-{pool.end}.",
            )
        if any(first <= other_last and other_first <= last for other_first, other_last in before):
            raise Refused(
                "overlapping_allocation_pools", f"Found overlapping allocation pools for subnet {subnet.cidr}."
            )
        before.append((first, last))
