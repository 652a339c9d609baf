"""Histories of many servers, as a log would deliver them."""

from collections.abc import Iterator
from datetime import timedelta
from random import Random

import msgspec

from domain import console
from domain.catalogue.quota import QuotaChanged, Reserved
from domain.fleet import host
from domain.guest import HostDescription, Nic, PowerState
from domain.log.kind import fold
from domain.log.record import AggregateId, Event, Metadata, Recorded
from domain.placement.ledger import Claimed, LedgerChanged
from domain.server.creation import ServerBuildFailed, ServerFailed, ServerRequested
from domain.server.deletion import ServerDeleteRequested
from domain.server.details import ServerLocked
from domain.server.fold import KIND
from domain.server.observation import ServerPowerChanged
from domain.server.state import Server, aggregate
from tests.domain.server.servers import BUILT, DELETED, FAULT, FLAVOR, IMAGE, LATER, NOW, PLACED, STOP, STOPPED

CELL = "cell1"
TICK = 1 / 16
"""Seconds between two events of ``history``."""


class Log:
    """Numbers events as a cell's stream does."""

    def __init__(self, cell: str = CELL, tick: float = 1.0) -> None:
        """``tick`` is the seconds between two events."""
        self.cell = cell
        self._tick = timedelta(seconds=tick)
        self.recorded: list[Recorded] = []
        self._versions: dict[AggregateId, int] = {}

    def add(self, aggregate_id: AggregateId, event: Event, request: str) -> None:
        position = len(self.recorded) + 1
        version = self._versions[aggregate_id] = self._versions.get(aggregate_id, 0) + 1
        meta = Metadata(
            event_id=f"e{position}",
            time=NOW + position * self._tick,
            request_id=request,
            user_id="u",
            project_id="p",
        )
        self.recorded.append(
            Recorded(
                cell=self.cell,
                aggregate=aggregate_id,
                version=version,
                position=position,
                event=event,
                meta=meta,
                digest="",
                previous="",
            )
        )


def server_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def history(servers: int, seed: int = 1) -> list[Recorded]:
    """The interleaved lives of some servers, with hosts, claims and reservations."""
    random = Random(seed)
    log = Log(tick=TICK)
    description = HostDescription(
        name="node1", hypervisor_type="QEMU", hypervisor_version=7, vcpus=4, memory_mb=4096, disk_gb=10
    )
    log.add(host.aggregate("node1"), host.HostEnrolled(host_id="h1", description=description), "req-host")
    lives = [_life(number, random) for number in range(servers)]
    while lives:
        life = random.choice(lives)
        try:
            aggregate_id, event, request = next(life)
        except StopIteration:
            lives.remove(life)
        else:
            log.add(aggregate_id, event, request)
    log.add(host.aggregate("node1"), host.HostDisabled(reason="repair"), "req-host-2")
    return log.recorded


def servers_of(events: list[Recorded]) -> list[Server]:
    """All servers, as their events tell."""
    of_each: dict[AggregateId, list[Recorded]] = {}
    for recorded in events:
        if recorded.aggregate.kind == KIND.name:
            of_each.setdefault(recorded.aggregate, []).append(recorded)
    states = [fold(KIND, told, None) for told in of_each.values()]
    return [state for state in states if state is not None]


def nic(address: str) -> tuple[Nic, ...]:
    """One interface with that address."""
    return (
        Nic(
            port_id=address,
            network_id="n",
            network_name="private",
            mac_address="fa:16:3e:00:00:01",
            ip_address=address,
            cidr="10.5.0.0/16",
        ),
    )


def _life(number: int, random: Random) -> Iterator[tuple[AggregateId, Event, str]]:
    own, me = aggregate(server_id(number)), server_id(number)
    request = f"req-{number}-create"
    claim = Claimed(
        consumer_id=me, epoch=1, project_id="p", user_id="u", allocations={"h1": {"VCPU": 1}}, request_id=request
    )
    reserved = Reserved(server_id=me, cell=CELL, cores=1, ram_mb=1, request_id=request)
    yield AggregateId("quota", "p"), QuotaChanged(changes=(reserved,)), request
    requested = ServerRequested(
        server_id=me,
        name=f"vm-{number % 7}",
        project_id=f"p{number % 3}",
        user_id=f"u{number % 2}",
        flavor=msgspec.structs.replace(FLAVOR, id=str(number % 2)),
        deadline=LATER,
        image=(None, IMAGE)[number % 2],
        key_name="k" if number % 2 else None,
        metadata={"quote": 'it\'s "fine" \\ \u00e9'},
        tags=((), ("a",), ("a", "b"), ("c",))[number % 4],
        description=(None, "blue", "blank")[number % 3],
        hostname=(None, "inside", "outside")[number % 3],
        config_drive=number % 2 == 0,
        reservation_id=f"r-{number // 2}",
    )
    yield own, requested, request
    yield AggregateId("ledger", CELL), LedgerChanged(changes=(claim,)), request
    port = nic(f"10.5.0.{number}") if number % 5 else ()
    zone = ("nova", "east")[number % 2]
    yield own, msgspec.structs.replace(PLACED, nics=port, availability_zone=zone), request
    if random.random() < 0.2:
        yield own, ServerBuildFailed(epoch=1, fault=FAULT), request
        yield own, ServerFailed(fault=FAULT), request
    else:
        yield own, BUILT, request
        if number % 5 == 0:
            yield own, ServerLocked(by_owner=True), f"req-{number}-lock"
        if random.random() < 0.5:
            yield from _consoles(me, random)
        if random.random() < 0.5:
            stop = f"req-{number}-stop"
            yield own, STOP, stop
            if random.random() < 0.5:
                yield own, STOPPED, stop
            else:
                yield own, ServerDeleteRequested(deadline=LATER, supersedes=stop), f"req-{number}-delete"
                yield own, DELETED, f"req-{number}-delete"
        elif random.random() < 0.5:
            yield own, ServerPowerChanged(epoch=1, power_state=PowerState.SHUTDOWN), "req-host"


def _consoles(server: str, random: Random) -> Iterator[tuple[AggregateId, Event, str]]:
    """A token with some sessions, of which some end."""
    grant, proxy = console.aggregate(f"grant-of-{server}"), f"console/{random.randrange(3)}"
    yield grant, console.ConsoleGranted(server_id=server, console_type="novnc", epoch=1, expires_at=LATER), "req-c"
    for number in range(random.randrange(3)):
        session = f"{server}/{number}"
        opened = console.ConsoleOpened(server_id=server, session_id=session, address="192.0.2.1", proxy=proxy)
        yield grant, opened, "req-c"
        if random.random() < 0.5:
            ended = console.ConsoleClosed(
                server_id=server, session_id=session, seconds=1.5, bytes_in=1, bytes_out=1 << 40, reason="lost"
            )
            yield grant, ended, "req-c"
