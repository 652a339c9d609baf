"""What must hold when a world has come to rest."""

from collections import Counter
from collections.abc import Iterator

from adapters.simulated.guest import Guest
from domain.affinity import AFFINITY, ANTI_AFFINITY
from domain.catalogue import quota
from domain.console import ConsoleClosed, ConsoleOpened
from domain.guest import PowerState
from domain.kinds import KINDS
from domain.log.record import AggregateId, Recorded
from domain.neighbours import network
from domain.placement import ledger
from domain.placement.ledger import imbalances
from domain.redecision import Redecision
from domain.server.action import ServerActionFailed
from domain.server.actions.all import ACTIONS
from domain.server.actions.power import ServerStarted
from domain.server.actions.reboot import ServerRebooted
from domain.server.actions.rebuild import ServerRebuildRequested, ServerRebuilt
from domain.server.actions.rescue import ServerRescued, ServerRescueRequested, ServerUnrescued
from domain.server.actions.shelve import ServerLaidDown
from domain.server.actions.unshelve import ServerUnshelved
from domain.server.creation import ServerBuilt
from domain.server.fold import CHANGES, evolve
from domain.server.moves.all import ENDINGS, MOVES
from domain.server.moves.course import ServerMoveReturned
from domain.server.moves.dead_hosts import TAKING
from domain.server.moves.evacuation import ServerEvacuated, ServerEvacuateRequested
from domain.server.reset import ServerStateReset
from domain.server.state import (
    ACTIVE,
    DELETED,
    ERROR,
    PAUSED,
    RESCUED,
    RESIZED,
    SHELVED,
    STOPPED,
    SUSPENDED,
    Server,
    places,
)
from projections import console_sessions, event_log, hosts, instance_actions, migrations, servers
from projections.memory import MemoryRows
from tests.groups import broken
from tests.sim.image_checks import images
from tests.sim.world import API, CELL, GROUPS, LIMITS, NETWORK, PROJECT, SHORT_LIVED, World

SETTLED = (ACTIVE, STOPPED, PAUSED, SUSPENDED, RESCUED, RESIZED, SHELVED)
DONE = (ServerBuilt, ServerMoveReturned, ServerLaidDown, *(action.done for action in (*ACTIONS, *MOVES, *ENDINGS)))
"""After which a guest is as was asked for."""
FROM_ITS_DISK = (
    ServerBuilt,
    ServerStarted,
    ServerRebooted,
    ServerRebuilt,
    ServerUnrescued,
    ServerUnshelved,
    ServerEvacuated,
)
"""After which a guest runs from its own disk."""


async def violations(world: World) -> list[str]:
    """Every rule that does not hold, in words."""
    states: dict[AggregateId, object] = {}
    history: list[Recorded] = []
    for cell in (CELL, API):
        async for batch in world.store(cell).follow(0):
            if not batch:
                break
            history += batch
    found = []
    for recorded in history:
        kind = KINDS[recorded.aggregate.kind]
        before = states.get(recorded.aggregate)
        states[recorded.aggregate] = after = kind.evolve(before, recorded.event, recorded.meta)
        if isinstance(after, ledger.Ledger):
            # At each moment, not only in the end.
            found += broken(after, [terms for terms in GROUPS if terms is not SHORT_LIVED])
    all_servers = [state for state in states.values() if isinstance(state, Server)]
    found += _unfinished(all_servers)
    found += _claims(all_servers, states)
    found += _held(all_servers, states)
    found += _together(all_servers)
    found += _guests(world, all_servers, history)
    found += _intended_disk(world, history, all_servers)
    found += _kept_disk(world, history, all_servers)
    found += _intended_power(world, history, all_servers)
    found += images(history, states)
    found += _console_sessions(history)
    found += _projections(world, history)
    found += _decided_anew(history)
    return found


def _decided_anew(history: list[Recorded]) -> Iterator[str]:
    """Whatever was recorded, under whatever faults, is what the rules allow."""
    redecision = Redecision(LIMITS)
    for recorded in history:
        for difference in redecision.take(recorded):
            yield f"{recorded.aggregate} {recorded.version} {type(recorded.event).__name__}: {difference.instead}"


def _unfinished(all_servers: list[Server]) -> Iterator[str]:
    for server in all_servers:
        if server.unfinished:
            name = server.action.name if server.action else "nothing"
            yield f"server {server.id} has an open {name} in {server.vm_state}/{server.task_state}"


def _claims(all_servers: list[Server], states: dict[AggregateId, object]) -> Iterator[str]:
    book = states.get(ledger.aggregate(CELL))
    if not isinstance(book, ledger.Ledger):
        return
    yield from imbalances(book)
    placed = [server for server in all_servers if _placed(server) and not server.is_nowhere]
    expected = {server.id: (server.host_id, _claimed_epoch(server)) for server in placed}
    for server in placed:
        if server.move and server.move.source.host != server.host:
            expected[server.move.id] = (server.move.source.host_id, 0)
        expected |= {left.move_id: (left.place.host_id, 0) for left in server.remains}
    claimed = {claim.consumer_id: (*claim.allocations, claim.epoch) for claim in book.claims.values()}
    for server in placed:
        yield from _amounts(book, server)
    if expected != claimed:
        yield f"claims differ from servers: {_difference(claimed, expected)}"


def _claimed_epoch(server: Server) -> int:
    """What came to nothing is void in the ledger, too; but a revert that failed may be tried again."""
    return server.epoch if server.vm_state == ERROR and server.move else server.newest_epoch


def _amounts(book: ledger.Ledger, server: Server) -> Iterator[str]:
    """A server claims what its flavor says; one that may be reverted within its host, as much as it may be."""
    flavors = [server.flavor]
    if server.move and server.move.source.host == server.host:
        flavors.append(server.move.flavor)
    claim = book.claims.get(server.id)
    vcpus = max(flavor.vcpus for flavor in flavors)
    if claim and server.host_id and claim.allocations.get(server.host_id, {}).get("VCPU") != vcpus:
        yield f"server {server.id} claims {claim.allocations}, and is {server.flavor.name} in {server.vm_state}"


def _held(all_servers: list[Server], states: dict[AggregateId, object]) -> Iterator[str]:
    living = {server.id for server in all_servers if server.vm_state != DELETED}
    reserved = states.get(quota.aggregate(PROJECT))
    if isinstance(reserved, quota.Quota) and set(reserved.reservations) != living:
        yield f"quota differs from servers: {set(reserved.reservations) ^ living}"
    for terms in GROUPS:
        members = {server.id for server in all_servers if server.group == terms} & living
        if isinstance(reserved, quota.Quota) and set(reserved.members_of(terms.group_id)) != members:
            yield f"the members of {terms.group_id} differ from servers: {reserved.members_of(terms.group_id)}"
    for server in all_servers:
        reservation = reserved.reservations.get(server.id) if isinstance(reserved, quota.Quota) else None
        cores = max(server.flavor.vcpus, server.move.flavor.vcpus if server.move else 0)
        if reservation and reservation.cores != cores:
            yield f"server {server.id} of {cores} cores counts for {reservation.cores} in {server.vm_state}"
    net = states[network.aggregate(NETWORK)]
    assert isinstance(net, network.Network)
    ports = {port.server_id: port.ip_address for port in net.ports.values()}
    expected = {server.id: nic.ip_address for server in all_servers if _placed(server) for nic in server.nics}
    if ports != expected:
        yield f"ports differ from servers: {_difference(ports, expected)}"
    if len(set(ports.values())) != len(ports):
        yield "an address was given out twice"


def _together(all_servers: list[Server]) -> Iterator[str]:
    """Whatever the claims say, servers are where their groups' policies allow."""
    for terms in GROUPS:
        members = [server for server in all_servers if server.group == terms and _placed(server) and server.host]
        hosts = Counter(server.host for server in members)
        if terms.policy == ANTI_AFFINITY and max(hosts.values(), default=0) > terms.max_per_host:
            yield f"servers of {terms.group_id} share a host: {hosts}"
        if terms.policy == AFFINITY and terms is not SHORT_LIVED and len(hosts) > 1:
            yield f"servers of {terms.group_id} are on several hosts: {hosts}"


def _guests(world: World, all_servers: list[Server], history: list[Recorded]) -> Iterator[str]:
    doubtful, lost = _perhaps_rescued(history), _not_taken_back(history)
    by_id = {server.id: server for server in all_servers}
    for host, hypervisor in world.hypervisors.items():
        if host in world.lost:
            continue
        for server_id in hypervisor._guests.keys() - lost:
            server, guest = by_id.get(server_id), hypervisor._guests[server_id]
            if server is None or not _placed(server) or host not in [place[0] for place in places(server)]:
                yield f"guest {server_id} on {host} should not be there ({server and server.vm_state})"
            elif host != server.host:
                if not guest.given and server.vm_state in SETTLED:
                    yield f"guest {server_id} of a server that has moved is {guest.power_state!r} on {host}"
            elif server.vm_state in SETTLED and server.power_state != guest.power_state:
                yield f"guest {server_id} is {guest.power_state!r}, its server says {server.power_state!r}"
            elif server.vm_state in (ACTIVE, RESCUED) and server_id not in doubtful:
                rescued = guest.spec.rescue_image is not None
                if rescued != (server.vm_state == RESCUED):
                    yield f"guest {server_id} is {'' if rescued else 'not '}rescued, its server is {server.vm_state}"
    for server in all_servers:
        if server.vm_state in SETTLED and server.host not in world.lost and server.id not in lost:
            assert server.host
            yield from _guest_of(server, world.hypervisors[server.host]._guests.get(server.id))


def _guest_of(server: Server, guest: Guest | None) -> Iterator[str]:
    """A server that is in order has the guest that it says."""
    if guest is None:
        yield f"server {server.id} is {server.vm_state} without a guest"
        return
    if guest.given:
        yield f"the guest of server {server.id} is given away"
    if guest.spec.epoch != server.epoch:
        yield f"guest {server.id} is of assignment {guest.spec.epoch}, its server of {server.epoch}"
    if guest.spec.vcpus != server.flavor.vcpus:
        yield f"guest {server.id} has {guest.spec.vcpus} processors, its server {server.flavor.vcpus}"
    if guest.aside is not None and server.move is None:
        yield f"guest {server.id} keeps aside what it was, and its server has not moved"
    if server.vm_state == ACTIVE and server.power_state is not PowerState.RUNNING:
        yield f"server {server.id} is active but {server.power_state!r}"


def _not_taken_back(history: list[Recorded]) -> set[str]:
    """Servers that an administrator has said to be active, though their host did not take back what it had given: a
    hard reboot does that. Their power is told to be unknown."""
    failed: set[str] = set()
    said: set[str] = set()
    states: dict[str, Server] = {}
    for recorded in history:
        if recorded.aggregate.kind != "server":
            continue
        server_id = recorded.aggregate.id
        before = states.get(server_id)
        states[server_id] = evolve(before, recorded.event, recorded.meta)
        if isinstance(recorded.event, ServerActionFailed) and before and before.move:
            failed |= {server_id} if before.move.leg in TAKING else set()
        elif isinstance(recorded.event, ServerStateReset):
            said |= failed & {server_id}
        elif isinstance(recorded.event, DONE):
            failed.discard(server_id)
            said.discard(server_id)
    return {server_id for server_id in said if states[server_id].power_state is PowerState.NOSTATE}


def _perhaps_rescued(history: list[Recorded]) -> set[str]:
    """Servers of which an administrator has said that they are active, or which could not be evacuated, where the
    guest may be in the rescue that was asked for before: its power does not tell from which disk it runs."""
    asked: set[str] = set()
    said: set[str] = set()
    for recorded in history:
        server_id = recorded.aggregate.id
        match recorded.event:
            case ServerRescueRequested():
                asked.add(server_id)
            case ServerStateReset() | ServerEvacuateRequested():
                said |= asked & {server_id}
            case ServerRescued():
                said.discard(server_id)
            case _ if isinstance(recorded.event, FROM_ITS_DISK):
                said.discard(server_id)
                asked.discard(server_id)
    return said


def _intended_disk(world: World, history: list[Recorded], all_servers: list[Server]) -> Iterator[str]:
    """A guest whose last rebuild succeeded has the disk of that."""
    certain: set[str] = set()
    for recorded in history:
        if isinstance(recorded.event, ServerBuilt | ServerRebuilt):
            certain.add(recorded.aggregate.id)
        elif isinstance(recorded.event, ServerRebuildRequested):
            certain.discard(recorded.aggregate.id)
    for server in all_servers:
        if server.id in certain and server.vm_state in SETTLED and server.host and server.host not in world.lost:
            guest = world.hypervisors[server.host]._guests.get(server.id)
            if guest and guest.spec.generation != server.generation:
                yield f"guest {server.id} has disk {guest.spec.generation}, and should have {server.generation}"


def _kept_disk(world: World, history: list[Recorded], all_servers: list[Server]) -> Iterator[str]:
    """A server that was neither rebuilt nor evacuated has, wherever it is, the disk that was made at first."""
    made: dict[str, str] = {}
    states: dict[str, Server] = {}
    for recorded in history:
        if recorded.aggregate.kind != "server":
            continue
        server_id = recorded.aggregate.id
        states[server_id] = server = evolve(states.get(server_id), recorded.event, recorded.meta)
        if isinstance(recorded.event, ServerBuilt):
            made[server_id] = server.host or ""
        elif isinstance(recorded.event, ServerRebuildRequested | ServerEvacuated):
            made.pop(server_id, None)
    for server in all_servers:
        if server.id in made and server.vm_state in SETTLED and server.host and server.host not in world.lost:
            guest = world.hypervisors[server.host]._guests.get(server.id)
            if guest and guest.disk[:1] != (made[server.id],):
                yield f"guest {server.id} has a disk {guest.disk}, and should have that of {made[server.id]}"


def _intended_power(world: World, history: list[Recorded], all_servers: list[Server]) -> Iterator[str]:
    """A guest that never changed by itself is as the last action that succeeded has left it."""
    intended: dict[str, PowerState] = {}
    states: dict[str, Server] = {}
    for recorded in history:
        if recorded.aggregate.kind != "server":
            continue
        server_id = recorded.aggregate.id
        before = states.get(server_id)
        states[server_id] = evolve(before, recorded.event, recorded.meta)
        if isinstance(recorded.event, ServerMoveReturned) and before and before.move and not before.move.touched:
            # Its host was told nothing of it, and has said nothing.
            continue
        if isinstance(recorded.event, DONE):
            # One that leaves the power alone tells nothing of it.
            assert before
            if "power_state" in CHANGES[type(recorded.event)](before, recorded.event, recorded.meta):
                intended[server_id] = states[server_id].power_state
            if states[server_id].power_state is PowerState.NOSTATE:
                # Unknown since a reset; a move that came to nothing leaves it so, until its host tells.
                intended.pop(server_id, None)
        elif isinstance(recorded.event, ServerActionFailed | ServerStateReset | ServerEvacuateRequested):
            # It may have been done all the same: nobody can say.
            intended.pop(server_id, None)
    for server in all_servers:
        if server.vm_state not in SETTLED or server.id in world.changed_by_itself or server.host in world.lost:
            continue
        if server.power_state != intended.get(server.id, server.power_state):
            yield f"server {server.id} is {server.power_state!r}, and should be {intended[server.id]!r}"


def _console_sessions(history: list[Recorded]) -> Iterator[str]:
    """Nobody looks any more, so each session has ended, and once."""
    opened = [recorded.event.session_id for recorded in history if isinstance(recorded.event, ConsoleOpened)]
    closed = [recorded.event.session_id for recorded in history if isinstance(recorded.event, ConsoleClosed)]
    if sorted(opened) != sorted(closed):
        yield f"console sessions {sorted(opened)} were opened, {sorted(closed)} have ended"


def _projections(world: World, history: list[Recorded]) -> Iterator[str]:
    expected = MemoryRows(
        (
            servers.ServersView(),
            instance_actions.InstanceActionsView(),
            migrations.MigrationsView(),
            hosts.HostsView(),
            event_log.EventLogView(),
            console_sessions.ConsoleSessionsView(),
        )
    )
    for recorded in history:
        expected.apply([recorded])
    tables = (
        servers.TABLE, instance_actions.TABLE, migrations.TABLE, migrations.LAST, migrations.EVACUATIONS, hosts.TABLE,
        event_log.TABLE, console_sessions.TABLE,
    )  # fmt: skip
    for table in tables:
        have = {table.key_of(row): row for row in world.rows.all(table)}
        want = {table.key_of(row): row for row in expected.all(table)}
        if have != want:
            differing = [key for key in have.keys() | want.keys() if have.get(key) != want.get(key)]
            yield f"projection {table.name} differs from the fold of the log in {differing}"
    for row in world.rows.all(instance_actions.TABLE):
        if row.finish_time is None:
            yield f"the action {row.action} of server {row.server_id} is still open"


def _placed(server: Server) -> bool:
    return server.vm_state != DELETED and not server.never_came


def _difference(have: dict[str, object], want: dict[str, object]) -> str:
    return f"too many {dict(have.items() - want.items())}, missing {dict(want.items() - have.items())}"  # type: ignore[operator]
