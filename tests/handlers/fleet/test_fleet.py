"""The hosts in order, in zones and in sums: as a look at all of them would say."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.system import SystemIds
from domain.fleet import host as domain_host
from domain.guest import HostDescription
from domain.kinds import EVENTS
from domain.log.record import Event
from handlers.context import Context, Stamp
from handlers.fleet.fleet import COMPUTE, Fleet, service_id
from handlers.fleet.hosts import Hosts
from handlers.fleet.views import HostViews
from handlers.log.registry import Registry
from tests.aio import asynchronous
from tests.clocks import InstantClock

CONTEXT = Context(request_id="req-1")
NAMES = ("node-c", "node-a", "node-d", "node-b")
steps = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(("enrol", "disable", "enable")), st.integers(1, 64)),
    max_size=20,
)


def event(name: str, what: str, size: int, known: domain_host.Host | None) -> Event | None:
    if what == "enrol" or known is None:
        description = HostDescription(
            name=name, hypervisor_type="QEMU", hypervisor_version=7, vcpus=size, memory_mb=size * 3, disk_gb=size * 5
        )
        return domain_host.enrol(known, f"id-of-{name}", description)
    if what == "disable":
        return domain_host.disable(known, name, None)
    return domain_host.enable(known, name)


@given(steps, st.integers(0, 20))
@asynchronous
async def test_a_fleet_is_what_a_look_at_all_hosts_says(changes: list[tuple[str, str, int]], before: int) -> None:
    clock = InstantClock()
    stamp = Stamp(clock, SystemIds())
    store = MemoryEventStore(Broker(clock), "cell1", EventMapper(EVENTS))
    writing = Registry(store, stamp, [domain_host.KIND])
    order: list[str] = []
    for change in changes:
        name = change[0]
        await writing.execute(CONTEXT, domain_host.aggregate(name), lambda known, c=change: event(*c, known))
        order += [name] if name not in order else []
    registry = Registry(store, stamp, [domain_host.KIND])
    if before % 2:
        early = Fleet(registry)
        await registry.read_once()
        fleet = early
    else:
        await registry.read_once()
        fleet = Fleet(registry)
    hosts = [host for name in order if (host := fleet.named(name))]
    assert [host.name for host in fleet.all()] == order == [host.name for host in hosts]
    for number, host in enumerate(hosts, start=1):
        assert fleet.number(host) == number
        assert fleet.numbered(number) == fleet.by_id(host.id) == fleet.by_id(service_id(COMPUTE, host.name)) == host
        assert [each.name for each in fleet.after(host)] == order[number:]
    assert fleet.numbered(0) is fleet.numbered(len(order) + 1) is fleet.by_id("nobody") is None
    enabled = [host for host in hosts if host.enabled]
    assert fleet.enabled["count"] == len(enabled)
    assert fleet.enabled["memory_mb"] == sum(host.description.memory_mb for host in enabled)
    assert sorted(fleet.disabled) == sorted(host.name for host in hosts if not host.enabled)
    zones = {host.availability_zone for host in hosts}
    assert set(fleet.zones()) == zones
    for zone in zones:
        inside = [host for host in hosts if host.availability_zone == zone]
        assert {host.name for host in fleet.in_zone(zone)} == {host.name for host in inside}
        assert fleet.available(zone) is any(host.enabled for host in inside)
    assert fleet.available("nowhere")


@asynchronous
async def test_the_scheduler_sees_a_host_as_it_describes_itself() -> None:
    clock = InstantClock()
    store = MemoryEventStore(Broker(clock), "cell1", EventMapper(EVENTS))
    registry = Registry(store, Stamp(clock, SystemIds()), [domain_host.KIND])
    description = HostDescription(
        name="node-a", hypervisor_type="QEMU", hypervisor_version=7, vcpus=1, memory_mb=1, disk_gb=1,
        architecture="aarch64",
    )  # fmt: skip
    enrolled = domain_host.enrol(None, "id-a", description)
    await registry.execute(CONTEXT, domain_host.aggregate("node-a"), lambda _: enrolled)
    view = HostViews(Hosts(registry), lambda name: name == "node-a")["id-a"]
    assert (view.id, view.name, view.availability_zone) == ("id-a", "node-a", domain_host.DEFAULT_ZONE)
    assert (view.enabled, view.up, view.architecture) == (True, True, "aarch64")
