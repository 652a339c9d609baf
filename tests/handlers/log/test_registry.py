"""What belongs to whom is found by lists, which say what a look at everything would say."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.system import SystemIds
from domain.kinds import EVENTS
from domain.log.kind import EVERY, of_project
from domain.log.record import Event
from domain.neighbours import image, network
from domain.neighbours.image import Image, ImageCreated, ImageDeleted, ImageUpdated
from domain.neighbours.network import NetworkCreated, NetworkDeleted
from handlers.context import Context, Stamp
from handlers.log.registry import Registry
from tests.aio import asynchronous
from tests.clocks import InstantClock
from tests.handlers.log.test_long_histories import CountingStore

CONTEXT = Context(request_id="req-1")
VISIBILITIES = ("public", "private", "shared", "community")
steps = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(("create", "update", "delete")), st.sampled_from(VISIBILITIES)),
    max_size=25,
)


def _event(number: int, what: str, visibility: str, known: Image | None) -> Event | None:
    if known is None or known.status == "deleted":
        owner = f"p{number % 2}"
        return ImageCreated(image_id=str(number), name="i", owner=owner, visibility=visibility) if not known else None
    if what == "delete":
        return ImageDeleted()
    return ImageUpdated(
        name="i", visibility=visibility, protected=False, min_disk_gb=0, min_ram_mb=0, tags=(), properties={}
    )


@given(steps)
@asynchronous
async def test_lists_of_images(changes: list[tuple[int, str, str]]) -> None:
    clock = InstantClock()
    stamp = Stamp(clock, SystemIds())
    store = MemoryEventStore(Broker(clock), "api", EventMapper(EVENTS))
    writing, following = (Registry(store, stamp, [image.KIND, network.KIND]) for _ in range(2))
    for number, what, visibility in changes:
        await writing.execute(
            CONTEXT, image.aggregate(str(number)), lambda known, a=(number, what, visibility): _event(*a, known)
        )
    await following.read_once()
    for registry in (writing, following):
        known = [registry.get(image.aggregate(str(number))) for number in range(6)]
        living = [each for each in known if each and each.status != "deleted"]

        def listed(name: str, registry: Registry = registry) -> list[str]:
            return sorted(each.id for each in registry.listed("image", name))

        assert listed(EVERY) == [each.id for each in living] == sorted(each.id for each in registry.all("image"))
        for project in ("p0", "p1"):
            assert listed(of_project(project)) == [each.id for each in living if each.owner == project]
        for visibility in VISIBILITIES:
            assert listed(visibility) == [each.id for each in living if each.visibility == visibility]


@asynchronous
async def test_lists_of_networks() -> None:
    clock = InstantClock()
    stamp = Stamp(clock, SystemIds())
    store = MemoryEventStore(Broker(clock), "api", EventMapper(EVENTS))
    writing, following = (Registry(store, stamp, [network.KIND]) for _ in range(2))
    reading = asyncio.create_task(following.run())

    async def execute(network_id: str, event: Event) -> None:
        def decide(_known: Any) -> Event:
            return event

        await writing.execute(CONTEXT, network.aggregate(network_id), decide)

    for number in range(4):
        created = NetworkCreated(
            network_id=f"n{number}", name="n", project_id=f"p{number % 2}", subnet_id="s", cidr=f"10.0.{number}.0/24",
            shared=number == 3,
        )  # fmt: skip
        await execute(created.network_id, created)
    await execute("n1", NetworkDeleted())
    await following.ready()
    for registry in (writing, following):
        names = {
            name: [each.id for each in registry.listed("network", name)] for name in ("project p0", "project p1")
        }
        assert names == {"project p0": ["n0", "n2"], "project p1": ["n3"]}
        assert [each.id for each in registry.listed("network", network.SHARED)] == ["n3"]
        assert not list(registry.listed("network", "range 10.0.1.0/24"))
        assert [each.id for each in registry.all("network")] == ["n0", "n2", "n3"]
    reading.cancel()


@asynchronous
async def test_a_change_of_a_network_reads_only_what_is_new_and_misses_nothing() -> None:
    """Its history has every port that ever was."""
    clock = InstantClock()
    stamp, broker = Stamp(clock, SystemIds()), Broker(clock)
    store = CountingStore(broker, "api", EventMapper(EVENTS))
    here, other = Registry(store, stamp, [network.KIND]), Registry(
        MemoryEventStore(broker, "api", EventMapper(EVENTS)), stamp, [network.KIND]
    )  # fmt: skip
    aggregate = network.aggregate("n")
    created = NetworkCreated(network_id="n", name="n", project_id="p", subnet_id="s", cidr="10.0.0.0/24")
    await here.execute(CONTEXT, aggregate, lambda known: network.create(known, created))

    def ports(number: int) -> Callable[[Any], Sequence[Any]]:
        server_id = f"{number:08x}-0000-4000-8000-000000000000"
        return lambda state: network.allocate(
            state, port_id=server_id, server_id=server_id, cell="c", project_id="p", index=0
        )

    for number in range(20):
        await here.submit(CONTEXT, aggregate, ports(number))
    store.read = 0

    def renamed(name: str) -> Callable[[Any], Event | None]:
        edit = network.NetworkChanged(name=name, description="", mtu=1400, shared=False, tags=())
        return lambda known: network.change(known, lambda _: edit)

    state, _ = await here.execute(CONTEXT, aggregate, renamed("m"))
    assert (state.name, len(state.ports), store.read) == ("m", 20, 0)
    for number in range(20, 23):
        await other.submit(CONTEXT, aggregate, ports(number))
    state, _ = await here.execute(CONTEXT, aggregate, renamed("o"))
    assert (state.name, len(state.ports), store.read) == ("o", 23, 3)
    again, accepted = await here.execute(CONTEXT, aggregate, renamed("o"))
    assert (again is state, accepted.position) == (True, 0)
    await here.submit(CONTEXT, aggregate, ports(30))
    assert len(state.ports) == 24, "it is the writer's own"
