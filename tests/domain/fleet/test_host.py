"""Which machine is a host, under which name, and where."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from domain.errors import Invalid, Refused
from domain.fleet import host as hosts
from domain.fleet.host import Host, HostDescribed, HostEnrolled, HostForcedDown, HostForgotten, HostLetUp
from domain.guest import HostDescription
from domain.log.record import Metadata

DESCRIPTION = HostDescription(
    name="node1",
    hypervisor_type="QEMU",
    hypervisor_version=7002022,
    vcpus=4,
    memory_mb=4096,
    disk_gb=40,
    cpu_info={"arch": "x86_64", "vendor": None, "topology": {"cores": 2}, "features": ["sse"]},
)
AT = datetime(2030, 1, 1, tzinfo=UTC)
META = Metadata(event_id="1", time=AT, request_id="req-1")


def host(address: str = "127.0.0.1") -> Host:
    known = replace(DESCRIPTION, host_ip=address)
    return Host(id="h1", name="node1", description=known, availability_zone="nova", enrolled_at=AT, updated_at=AT)


def test_a_machine_enrols_once() -> None:
    bare = replace(DESCRIPTION, cpu_info={}, architecture="aarch64")
    assert hosts.enrol(None, "h1", bare) == HostEnrolled(host_id="h1", description=bare)
    assert hosts.enrol(None, "h1", DESCRIPTION) == HostEnrolled(host_id="h1", description=DESCRIPTION)
    assert hosts.enrol(host(), "h1", DESCRIPTION) is None
    larger = replace(DESCRIPTION, vcpus=8)
    assert hosts.enrol(host(), "h1", larger) == HostDescribed(description=larger)
    with pytest.raises(Refused, match="another machine"):
        hosts.enrol(host(), "h2", DESCRIPTION)


@pytest.mark.parametrize(
    ("known", "said", "allowed"),
    [
        ("127.0.0.1", "10.0.0.7", True),
        ("::1", "10.0.0.7", True),
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.7", "10.0.0.8", False),
        ("10.0.0.7", "127.0.0.1", False),
    ],
)
def test_an_address_is_chosen_once(known: str, said: str, *, allowed: bool) -> None:
    description = replace(DESCRIPTION, host_ip=said)
    if allowed:
        hosts.enrol(host(known), "h1", description)
    else:
        with pytest.raises(Refused, match=f"lightcurve host address node1 {said}"):
            hosts.enrol(host(known), "h1", description)


def test_the_operator_says_where_a_host_has_moved() -> None:
    moved = hosts.move(host("10.0.0.7"), "node1", "10.0.0.8")
    assert moved == HostDescribed(description=replace(DESCRIPTION, host_ip="10.0.0.8"))
    assert hosts.move(host("10.0.0.7"), "node1", "10.0.0.7") is None
    with pytest.raises(Invalid):
        hosts.move(host(), "node1", "somewhere")
    with pytest.raises(Refused, match="could not be found"):
        hosts.move(None, "node9", "10.0.0.8")


def test_a_host_is_fenced_until_it_is_let_up() -> None:
    assert hosts.force_down(host(), "node1") == HostForcedDown()
    fenced = hosts.evolve(host(), HostForcedDown(), META)
    assert fenced.forced_down
    assert hosts.force_down(fenced, "node1") is None
    assert hosts.let_up(fenced, "node1") == HostLetUp()
    assert not hosts.evolve(fenced, HostLetUp(), META).forced_down
    assert hosts.let_up(host(), "node1") is None
    for decide in (hosts.force_down, hosts.let_up):
        with pytest.raises(Refused, match="could not be found"):
            decide(None, "node9")


def test_a_host_that_was_forgotten_enrols_as_a_new_one() -> None:
    assert hosts.forget(None) is None
    assert hosts.forget(host()) == HostForgotten()
    forgotten = hosts.evolve(hosts.evolve(host(), HostForcedDown(), META), HostForgotten(), META)
    assert hosts.forget(forgotten) is None
    with pytest.raises(Refused, match="another machine"):
        hosts.enrol(forgotten, "h2", DESCRIPTION)
    enrolled = hosts.enrol(forgotten, "h1", DESCRIPTION)
    assert isinstance(enrolled, HostEnrolled)
    again = hosts.evolve(forgotten, enrolled, META)
    assert (again.forgotten, again.forced_down) == (False, False)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"name": name} for name in ("", "a/b", "-a", "a.", "a\n", "a" * 129, "a" + ".a" * 33, "é")),
        *({field: value} for field in ("vcpus", "memory_mb", "disk_gb") for value in (-1, 2**31, 2**70)),
        {"vcpus": 0}, {"memory_mb": 0}, {"hypervisor_version": 2**31}, {"hypervisor_type": "a\0"},
        {"hypervisor_type": ""}, {"host_ip": "example.com"}, {"host_ip": "10.0.0.7\n"},
        *({"cpu_info": {"a": value}} for value in ("\0", "x" * 20_000, 2**40, 0.5, [["deep"]], {"a": {"b": 1}})),
        {"cpu_info": {"\0": "a"}},
        *({"architecture": name} for name in ("", "amd64", "X86_64", "foo", "\0", "x" * 1000)),
    ],
)  # fmt: skip
def test_what_no_event_may_say_of_a_host(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        hosts.enrol(None, "h1", replace(DESCRIPTION, **wrong))


@pytest.mark.parametrize(
    ("name", "simulated"), [("sim-0001", True), ("sim-100000", True), ("sim-1", False), ("a", False)]
)
def test_the_names_of_simulated_hosts(name: str, *, simulated: bool) -> None:
    assert hosts.is_simulated(name) is simulated
    assert hosts.is_name(name)
    assert hosts.is_simulated(hosts.simulated_name(7))
