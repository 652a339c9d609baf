"""Addresses are given out once."""

from copy import deepcopy

import pytest
from msgspec.structs import replace

from domain.catalogue.quota import Limits
from domain.errors import Invalid, Refused
from domain.neighbours.network import (
    Network,
    NetworkCreated,
    PortBound,
    PortCreated,
    PortDeleted,
    PortMade,
    PortsChanged,
    PortUnbound,
    PortUpdated,
    Said,
    allocate,
    create,
    delete,
    evolve,
    make_port,
    release,
    update_port,
)
from domain.redecision.neighbours import BATCHES
from tests.domain.server.servers import meta

META = meta()
CREATED = NetworkCreated(network_id="n", name="net", project_id="p", subnet_id="s", cidr="10.0.0.0/29")


def _network() -> Network:
    return evolve(None, CREATED, meta())


def _allocate(network: Network, server_id: str, project_id: str = "p", **more: str) -> PortCreated | None:
    port_id = f"00000000-0000-4000-8000-{int(server_id):012x}"
    ports = allocate(
        network, port_id=port_id, server_id=server_id, cell="c", project_id=project_id, index=0, **more  # type: ignore[arg-type]
    )  # fmt: skip
    evolve(network, PortsChanged(changes=ports), meta())
    return ports[0] if ports else None


def test_every_address_once_and_then_no_more() -> None:
    network = _network()
    ports = [_allocate(network, str(number)) for number in range(4)]
    assert [port and port.ip_address for port in ports] == ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    assert len({port and port.mac_address for port in ports}) == 4
    with pytest.raises(Refused, match="No more IP addresses"):
        _allocate(network, "9")


def test_a_freed_address_rests_before_it_is_given_out_again() -> None:
    network = _network()
    _allocate(network, "1")
    evolve(network, PortsChanged(changes=release(network, "1", 1, None)), meta())
    again = _allocate(network, "2")
    assert again
    assert again.ip_address == "10.0.0.4"


def test_ports_whose_addresses_were_erased_come_and_go() -> None:
    """Histories are folded that tell of no address any more; the addresses of others are free or taken as before."""
    network = _network()
    port = PortCreated(
        port_id="e", server_id="7", cell="c", project_id="p", index=0, mac_address="fa:16:3e:00:00:07",
        ip_address="erased:0a1b2c3d",
    )  # fmt: skip
    evolve(network, PortsChanged(changes=(port,)), meta())
    held = network.of_server("7", 0)
    assert held
    assert (held.id, held.ip_address) == (port.port_id, port.ip_address)
    evolve(network, PortsChanged(changes=release(network, "7", 1, None)), meta())
    first = _allocate(network, "1")
    assert first
    assert first.ip_address == "10.0.0.3"


def test_an_erased_address_is_believed_when_it_is_decided_anew() -> None:
    given = _allocate(_network(), "1")
    assert given
    erased = replace(given, ip_address="erased:0a1b2c3d")
    assert list(BATCHES["network"](_network(), erased, Limits())) == [erased]


def test_allocating_again_changes_nothing() -> None:
    network = _network()
    _allocate(network, "1")
    assert _allocate(network, "1") is None


def test_equal_mac_addresses_are_avoided() -> None:
    network = _network()
    same_end = ("00000000-0000-4000-8000-000000000abc", "11111111-0000-4000-8000-000000000abc")
    found = []
    for server_id, port_id in zip("12", same_end, strict=True):
        ports = allocate(network, port_id=port_id, server_id=server_id, cell="c", project_id="p", index=0)
        evolve(network, PortsChanged(changes=ports), meta())
        found.append(ports[0].mac_address)
    assert found[0] != found[1]


@pytest.mark.parametrize("address", ["10.0.1.3", "nonsense"])
def test_a_requested_address_must_be_inside(address: str) -> None:
    with pytest.raises(Invalid):
        _allocate(_network(), "1", ip_address=address)


def test_a_requested_address_must_be_free() -> None:
    network = _network()
    _allocate(network, "1", ip_address="10.0.0.5")
    with pytest.raises(Refused, match="already in use"):
        _allocate(network, "2", ip_address="10.0.0.5")


@pytest.mark.parametrize("cidr", ["10.0.0.0/33", "10.0.0.1/24", "10.0.0.0/30", "x"])
def test_a_subnet_must_make_sense(cidr: str) -> None:
    bad = NetworkCreated(network_id="n", name="net", project_id="p", subnet_id="s", cidr=cidr)
    with pytest.raises(Invalid):
        create(None, bad)


def test_a_network_in_use_cannot_be_deleted_and_a_deleted_one_cannot_be_used() -> None:
    network = _network()
    _allocate(network, "1")
    with pytest.raises(Refused, match="still in use"):
        delete(network)
    evolve(network, PortsChanged(changes=release(network, "1", 1, None)), meta())
    deleted = delete(network)
    assert deleted
    evolve(network, deleted, meta())
    assert delete(network) is None
    with pytest.raises(Refused) as refusal:
        _allocate(network, "2")
    assert refusal.value.status == 404


def test_ports_are_found_by_their_server_and_by_their_project() -> None:
    network = _network()
    for server, project in (("1", "p"), ("2", "p"), ("3", "q")):
        _allocate(network, server, project)
    assert [port.server_id for port in network.ports_in("p")] == ["1", "2"]
    assert [port.server_id for port in network.ports_in("q")] == ["3"]
    assert [port.server_id for port in network.ports_of("2")] == ["2"]
    evolve(network, PortsChanged(changes=release(network, "1", 1, None)), meta())
    assert [port.server_id for port in network.ports_in("p")] == ["2"]
    assert not list(network.ports_of("1"))
    assert not list(network.ports_in("nobody"))


def _ports_known(network: Network) -> object:
    return network.ports, network._by_server, network._by_project, network._by_device, network._taken


def test_whatever_happens_to_a_port_of_a_projects_own_can_be_taken_back() -> None:
    network, said = _network(), Said(name="n", device_id="d")
    made = make_port(
        network, port_id="00000000-0000-4000-8000-000000000001", project_id="p", now=META.time, said=said
    )
    port_id = made[0].port_id
    for change in (
        *made,
        *update_port(network_with(made), port_id, lambda _: Said(name="m", device_id="e")),
        PortUpdated(port_id=port_id, name="m", description="", device_id="", device_owner=""),
        PortBound(port_id=port_id, server_id="7", cell="c", index=1),
        PortUnbound(port_id=port_id, server_id="7"),
        PortDeleted(port_id=port_id, server_id=""),
    ):
        before = deepcopy(_ports_known(network))
        network.apply(change)()
        assert _ports_known(network) == before, change
        network.apply(change)
    assert (network.ports, network._by_server, network._taken) == ({}, {}, set())
    assert (network._by_device, list(network.ports_in("p"))) == ({}, [])


def network_with(changes: tuple[PortMade, ...]) -> Network:
    network = _network()
    evolve(network, PortsChanged(changes=changes), META)
    return network


def test_what_is_decided_of_a_port_is_decided_anew_the_same() -> None:
    network, decide = _network(), BATCHES["network"]
    (made,) = make_port(network, port_id="00000000-0000-4000-8000-000000000001", project_id="p", now=META.time,
                        said=Said(name="n"))  # fmt: skip
    port_id = made.port_id
    for change in (
        made,
        PortUpdated(port_id=port_id, name="m", description="", device_id="", device_owner=""),
        PortBound(port_id=port_id, server_id="7", cell="c", index=1),
        PortUnbound(port_id=port_id, server_id="7"),
        PortDeleted(port_id=port_id, server_id=""),
    ):
        assert list(decide(network, change, Limits())) == [change]
        network.apply(change)
    with pytest.raises(Refused):
        decide(network, PortBound(port_id=port_id, server_id="7", cell="c", index=1), Limits())


def test_an_address_that_is_asked_for_is_nobodys_turn() -> None:
    """Or everybody's next search would begin where it is, in the midst of what is taken."""
    network = _network()
    first = _allocate(network, "1", ip_address="10.0.0.6")
    second = _allocate(network, "2")
    assert first
    assert second
    assert (first.asked, second.ip_address) == (True, "10.0.0.3")
    assert list(BATCHES["network"](_network(), first, Limits())) == [first]
    # As it was when this was not told.
    older = _network()
    older.apply(replace(first, asked=False))
    again = _allocate(older, "2")
    assert again
    assert again.ip_address == "10.0.0.3", "the turn begins anew behind the last one"


def test_a_port_in_use_is_said_to_be_nobody_elses() -> None:
    network = _network()
    (made,) = make_port(network, port_id="00000000-0000-4000-8000-000000000001", project_id="p", now=META.time,
                        said=Said(name="n"))  # fmt: skip
    evolve(network, PortsChanged(changes=(made,)), META)
    assert (network.own_ports("p"), network.own_ports("q")) == (1, 0)
    network.apply(PortBound(port_id=made.port_id, server_id="7", cell="c", index=0))
    assert update_port(network, made.port_id, lambda _: Said(name="m"))
    with pytest.raises(Refused, match="is an interface of server 7"):
        update_port(network, made.port_id, lambda _: Said(name="n", device_id="7"))


def test_ranges_that_older_versions_took_are_still_decided_so() -> None:
    old = replace(CREATED, cidr="169.254.0.0/24")
    assert create(None, old) == old
