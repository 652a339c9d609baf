"""Ranges of addresses, and what is given out of them."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.errors import Invalid, Refused
from domain.neighbours import network as networks
from domain.neighbours.network import NetworkCreated, Pool, PortsChanged, Subnet, SubnetChanged, made
from domain.neighbours.network.subnet import with_dhcp
from tests.domain.server.servers import meta


def small(**more: object) -> Subnet:
    return made("s", "name", "10.1.0.0/29", **more)  # type: ignore[arg-type]


def test_what_is_left_open_is_decided() -> None:
    subnet = small()
    assert (subnet.gateway_ip, subnet.dhcp_ip, subnet.pools) == (
        "10.1.0.1",
        "10.1.0.2",
        (Pool("10.1.0.2", "10.1.0.6"),),
    )
    assert small(gateway_ip="10.1.0.3").pools == (Pool("10.1.0.1", "10.1.0.2"), Pool("10.1.0.4", "10.1.0.6"))
    bare = small(has_gateway=False, has_dhcp=False)
    assert (bare.gateway_ip, bare.dhcp_ip, bare.addresses) == (None, None, 6)


@given(st.integers(20, 29), st.data())
def test_each_address_of_the_pools_has_one_place(prefix: int, data: st.DataObject) -> None:
    whole = IPv4Network((int(IPv4Address("10.1.0.0")), prefix))
    gateway = whole[data.draw(st.integers(1, whole.num_addresses - 2))]
    subnet = made("s", "n", str(whole), gateway_ip=str(gateway))
    assert subnet.addresses == whole.num_addresses - 3
    index = data.draw(st.integers(0, subnet.addresses - 1))
    assert subnet.place_of(subnet.at(index)) == index
    assert subnet.at(index) != str(gateway)
    assert subnet.place_of(str(gateway)) is None
    with pytest.raises(IndexError):
        subnet.at(subnet.addresses)


def test_the_services_have_addresses_that_no_port_gets() -> None:
    subnet = small()
    served = [address for address in map(str, subnet.range) if subnet.serves(address)]
    assert served == ["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]
    assert not subnet.serves("10.1.0.9")


def test_dhcp_needs_an_address() -> None:
    off = small(has_dhcp=False)
    assert with_dhcp(off, {"10.1.0.2"}).dhcp_ip == "10.1.0.3"
    assert with_dhcp(small(), {"10.1.0.2"}) == small(), "it has one"
    with pytest.raises(Refused, match="left for its DHCP server"):
        with_dhcp(off, {f"10.1.0.{number}" for number in range(2, 7)})


def with_port(address: str) -> networks.Network:
    network = networks.evolve(None, NetworkCreated(network_id="n", name="net", project_id="p"), meta())
    networks.evolve(network, networks.add_subnet(network, small()), meta())
    ports = networks.allocate(
        network, port_id="00000000-0000-4000-8000-000000000001", server_id="1", cell="c", project_id="p", index=0,
        ip_address=address,
    )  # fmt: skip
    networks.evolve(network, PortsChanged(changes=ports), meta())
    return network


def test_a_gateway_is_not_moved_to_where_somebody_is() -> None:
    network, pools = with_port("10.1.0.6"), (Pool("10.1.0.3", "10.1.0.5"),)
    for gateway in ("10.1.0.6", "10.1.0.2"):
        wanted = replace(small(), gateway_ip=gateway, pools=pools)
        with pytest.raises(Refused, match="already in use"):
            networks.change_subnet(network, "s", lambda _, wanted=wanted: wanted)
    free = replace(small(), gateway_ip="10.1.0.1", pools=pools)
    assert networks.change_subnet(network, "s", lambda _: free) == SubnetChanged(subnet=free)
    assert networks.change_subnet(network, "s", lambda present: present) is None


def test_a_subnet_with_ports_stays_and_a_network_that_others_use_stays_shared() -> None:
    network = with_port("10.1.0.6")
    with pytest.raises(Refused, match="One or more ports"):
        networks.delete_subnet(network, "s")
    edited = networks.NetworkChanged(name="net", description="", mtu=1400, shared=True, tags=())
    networks.evolve(network, edited, meta())
    alone = replace(edited, shared=False)
    assert networks.change(network, lambda _: alone) == alone
    (port,) = network.ports.values()
    network.ports[port.id] = replace(port, project_id="q")
    with pytest.raises(Refused, match="Multiple tenants"):
        networks.change(network, lambda _: alone)


def test_of_what_is_gone_nothing_can_be_changed() -> None:
    network = networks.evolve(None, NetworkCreated(network_id="n", name="net", project_id="p"), meta())
    for ask in (networks.change_subnet, networks.change):
        with pytest.raises(Refused) as refusal:
            ask(None, *(("s",) if ask is networks.change_subnet else ()), lambda present: present)
        assert refusal.value.status == 404
    with pytest.raises(Refused) as refusal:
        networks.delete_subnet(network, "s")
    assert refusal.value.status == 404
    with pytest.raises(Invalid, match="overlaps"):
        networks.add_subnet(with_port("10.1.0.3"), replace(small(), id="t"))


def test_the_address_of_a_former_dhcp_server_is_kept_for_it() -> None:
    """Hosts of older guests have it still."""
    network = with_port("10.1.0.6")
    for has_dhcp, served in ((False, None), (True, "10.1.0.2"), (False, None)):
        changed = networks.change_subnet(network, "s", lambda present: present, has_dhcp=has_dhcp)
        assert changed
        networks.evolve(network, changed, meta())
        assert network.subnets["s"].dhcp_ip == served
        assert not network.subnets["s"].serves("10.1.0.2")
    assert networks.change_subnet(network, "s", lambda present: present) is None


def test_whether_a_subnet_is_used_is_counted() -> None:
    network = with_port("10.1.0.6")
    assert network.is_used(network.subnets["s"])
    evolved = networks.release(network, "1", 1, None)
    networks.evolve(network, PortsChanged(changes=evolved), meta())
    assert not network.is_used(network.subnets["s"])
    assert networks.delete_subnet(network, "s")
