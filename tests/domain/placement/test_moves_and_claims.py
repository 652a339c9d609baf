"""Whatever servers are asked for, whatever fails, and whoever dies half way: the ledger agrees with the servers."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.affinity import AFFINITY, ANTI_AFFINITY, Terms
from domain.catalogue.flavor import Flavor
from domain.errors import NoCapacity, Refused, Stale
from domain.guest import GuestState, PowerState
from domain.log.record import Event, Metadata
from domain.placement.ledger import Ledger, LedgerChange, imbalances, offer, release
from domain.placement.ledger.inventory import Inventory
from domain.placement.moving import claim_target, settle
from domain.placement.scheduling import HostView, place
from domain.server import creation, deletion, observation, reported
from domain.server.action import ServerActionFailed
from domain.server.actions.reboot import request as reboot
from domain.server.creation import ServerPlaced, ServerRequested
from domain.server.fold import evolve
from domain.server.moves import cold, course, dead_hosts, evacuation, live, steering
from domain.server.moves.course import ServerTargetChosen
from domain.server.parts import Fault
from domain.server.state import DELETED, Server, existing
from domain.server.steps import (
    Abandon,
    ChooseTarget,
    ClearRemains,
    Command,
    Confirm,
    Expire,
    FinishConfirm,
    FinishDelete,
    FinishReturn,
    GiveUp,
    Leave,
    Place,
    Step,
    next_step,
)
from tests.groups import broken

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOSTS = ("a", "b", "c")
GROUPS = tuple(Terms(group_id=policy, policy=policy) for policy in (AFFINITY, ANTI_AFFINITY))
IDS = tuple(str(UUID(int=number, version=4)) for number in range(3))
FLAVORS = tuple(Flavor(id=str(n), name=f"f{n}", vcpus=n, ram_mb=64 * n, disk_gb=1) for n in (1, 2, 3))
VIEWS = {
    f"id-{name}": HostView(id=f"id-{name}", name=name, availability_zone="nova", enabled=True, up=True)
    for name in HOSTS
}
FAULT = Fault(code=500, message="It failed.")
POWERS = (PowerState.RUNNING, PowerState.SHUTDOWN)


class Cell(RuleBasedStateMachine):
    """Three servers on three hosts, which have room for about that. Each rule is what one process does at one moment;
    what it knows may be old, and it may die between the ledger and the server's own event."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        for name in HOSTS:
            inventory = {
                "VCPU": Inventory(total=5, max_unit=5),
                "MEMORY_MB": Inventory(total=4096, max_unit=4096),
                "DISK_GB": Inventory(total=100, max_unit=100),
            }
            self._apply(offer(self.ledger, f"id-{name}", name, inventory))
        self.histories: dict[str, list[Server | None]] = {server_id: [None] for server_id in IDS}
        self.events = 0

    def server(self, server_id: str) -> Server | None:
        return self.histories[server_id][-1]

    def _apply(self, changes: tuple[LedgerChange, ...]) -> None:
        for change in changes:
            self.ledger.apply(change)

    def _happen(self, server_id: str, event: Event | None) -> None:
        if event is None:
            return
        self.events += 1
        meta = Metadata(event_id=str(self.events), time=NOW, request_id=f"req-{self.events}", user_id="u")
        self.histories[server_id].append(evolve(self.server(server_id), event, meta))

    @rule(server_id=st.sampled_from(IDS), flavor=st.sampled_from(FLAVORS), group=st.sampled_from((None, *GROUPS)))
    def create(self, server_id: str, flavor: Flavor, group: Terms | None) -> None:
        if self.server(server_id) is None:
            self._happen(server_id, ServerRequested(
                server_id=server_id, name="s", project_id="p", user_id="u", flavor=flavor, deadline=NOW + DAY,
                group=group,
            ))  # fmt: skip

    @rule(
        server_id=st.sampled_from(IDS),
        what=st.sampled_from(
            ("resize", "migrate", "live", "evacuate", "evacuate", "confirm", "revert", "reboot", "delete")
        ),
        flavor=st.sampled_from(FLAVORS),
        confirm_after=st.sampled_from((None, 1.0)),
    )
    def ask(self, server_id: str, what: str, flavor: Flavor, confirm_after: float | None) -> None:
        by = NOW + DAY
        try:
            server = existing(self.server(server_id), server_id)
            match what:
                case "resize":
                    event: Event | None = cold.resize(server, by, flavor, confirm_after)
                case "migrate":
                    event = cold.migrate(server, by, None, confirm_after)
                case "live":
                    event = live.migrate(server, by, None)
                case "evacuate":
                    event = evacuation.evacuate(server, by, None, stopped=False, secrets=None)
                case "confirm":
                    event = cold.CONFIRM.request(server, by)
                case "revert":
                    event = cold.REVERT.request(server, by)
                case "reboot":
                    event = reboot(server, by, hard=True)
                case _:
                    event = deletion.request(server, by)
        except Refused:
            return
        self._happen(server_id, event)

    @rule(
        server_id=st.sampled_from(IDS),
        age=st.integers(0, 3),
        late=st.booleans(),
        dies=st.booleans(),
    )
    def conduct(self, server_id: str, age: int, late: bool, dies: bool) -> None:
        """A conductor does the next step, by what it knows, which may be old; then it dies, or records it."""
        history = self.histories[server_id]
        known = history[max(0, len(history) - 1 - age)]
        if known is not None:
            self._conduct(known, NOW + 2 * DAY if late else NOW, dies=dies)

    def _conduct(self, known: Server, now: datetime, *, dies: bool = False) -> None:
        step = next_step(known, now)
        try:
            event = self._take(known, step, now)
        except Stale:
            return
        if not dies:
            self._happen(known.id, event)

    def _take(self, known: Server, step: Step | None, now: datetime) -> Event | None:
        """What is done to the ledger, and the event that is decided on the server as it is."""
        present = self.server(known.id)
        match step:
            case Place():
                return self._place(known, step)
            case GiveUp():
                return self._give_up(known)
            case ChooseTarget():
                return self._choose(known, step)
            case Abandon():
                return course.abandoned(present, FAULT, now)
            case Confirm():
                return cold.confirmed_by_time(present, now)
            case Expire() | FinishReturn() | FinishConfirm():
                self._settle(known)
                return self._if_settled(known, self._ended(known, step, now))
            case FinishDelete():
                self._release_all(known)
                return deletion.deleted(present, without_host=True)
            case Leave():
                return steering.lost(present) if step.overdue else None
            case ClearRemains():
                left = known.remains[0]
                self._apply(release(self.ledger, left.move_id, None))
                return evacuation.removed(present, left.move_id, without_host=False)
        return None

    def _ended(self, known: Server, step: Step, now: datetime) -> Event | None:
        present = self.server(known.id)
        if isinstance(step, Expire):
            return reported.expired(present, now, known.action.request_id if known.action else "")
        if isinstance(step, FinishReturn):
            return course.returned(present)
        return cold.confirmed(present, without_host=True) or live.migrated(present, without_host=True)

    def _place(self, known: Server, step: Place) -> Event | None:
        try:
            claim = place(self.ledger, VIEWS, step.demand)
        except NoCapacity:
            return self._give_up(known)
        if self.ledger.claims.get(known.id) is not claim:
            self._apply((claim,))
        name = VIEWS[next(iter(claim.allocations))].name
        placed = ServerPlaced(host=name, host_id=f"id-{name}", epoch=step.demand.epoch, availability_zone="nova")
        return creation.placed(self.server(known.id), placed)

    def _give_up(self, known: Server) -> Event | None:
        """It is recorded first: only then is what is held certainly for nothing."""
        self._happen(known.id, creation.given_up(self.server(known.id), FAULT, {}))
        now = self.server(known.id)
        if now and now.never_came:
            self._apply(release(self.ledger, known.id, None))
        return None

    def _choose(self, known: Server, step: ChooseTarget) -> Event | None:
        move = course.moving(known)
        try:
            claims = claim_target(self.ledger, VIEWS, step.demand, move.id, may_stay=move.may_stay)
        except NoCapacity:
            return course.abandoned(self.server(known.id), FAULT, NOW)
        self._apply(claims)
        host_id = next(iter(self.ledger.claims[known.id].allocations))
        chosen = ServerTargetChosen(
            host=VIEWS[host_id].name, host_id=host_id, epoch=step.demand.epoch, availability_zone="nova"
        )
        return course.chosen(self.server(known.id), chosen)

    def _settle(self, known: Server) -> None:
        if cold.is_ending(known):
            rest, move, left_on = course.at_rest(known), course.moving(known), course.left_on(known)
            self._apply(settle(self.ledger, known.id, move.id, rest.host_id, rest.amounts, rest.epoch, None, left_on))

    def _if_settled(self, known: Server, event: Event | None) -> Event | None:
        present = self.server(known.id)
        if event and present and cold.is_ending(present) and present.version != known.version:
            raise Stale("It has come further meanwhile.")
        return event

    def _release_all(self, known: Server) -> None:
        for move_id in (*((known.move.id,) if known.move else ()), *(left.move_id for left in known.remains)):
            self._apply(release(self.ledger, move_id, None))
        self._apply(release(self.ledger, known.id, None))

    @rule(server_id=st.sampled_from(IDS), succeeds=st.booleans(), power=st.sampled_from(POWERS), dies=st.booleans())
    def report(self, server_id: str, succeeds: bool, power: PowerState, dies: bool) -> None:
        """A host tells what has come of what it was told."""
        self._report(server_id, succeeds=succeeds, power=power, dies=dies)

    def _report(self, server_id: str, *, succeeds: bool = True, power: PowerState = PowerState.RUNNING,
                dies: bool = False) -> None:  # fmt: skip
        server = self.server(server_id)
        step = next_step(server, NOW) if server else None
        step = step.command if isinstance(step, Leave) else step
        if server is None or server.action is None or not isinstance(step, Command):
            return
        if step.kind == deletion.COMMAND:
            self._destroyed(server, step, dies=dies)
            return
        epoch, version = server.epoch if step.epoch is None else step.epoch, server.action.version
        guest = GuestState(server_id=server_id, epoch=epoch, power_state=power)
        event: Event | None = (
            reported.done(server, step.kind, version, guest)
            if succeeds
            else reported.failed(server, step.kind, epoch, version, FAULT, NOW)
        )
        if event is not None:
            self._settle(server)
            if not dies:
                self._happen(server_id, event)

    def _destroyed(self, server: Server, step: Command, *, dies: bool) -> None:
        if server.move and step.epoch is not None:
            self._apply(release(self.ledger, server.move.id, None))
            event: Event | None = deletion.elsewhere_cleared(server)
        else:
            self._release_all(server)
            event = deletion.deleted(server, without_host=False)
        if not dies:
            self._happen(server.id, event)

    @rule(server_id=st.sampled_from(IDS), age=st.integers(0, 1), dies=st.booleans())
    def host_is_dead(self, server_id: str, age: int, dies: bool) -> None:
        """A conductor finds that the host that would be told next was declared dead."""
        history = self.histories[server_id]
        known = history[max(0, len(history) - 1 - age)]
        step = next_step(known, NOW) if known else None
        if known is None or not isinstance(step, Command):
            return
        epoch = known.epoch if step.epoch is None else step.epoch
        if isinstance(dead_hosts.ended(known, epoch, NOW), ServerActionFailed):
            self._settle(known)
        present = self.server(server_id)
        try:
            event = dead_hosts.ended(present, epoch, NOW) or dead_hosts.not_built(present, epoch)
            if isinstance(event, ServerActionFailed):
                self._if_settled(known, event)
        except Stale:
            return
        if not dies:
            self._happen(server_id, event)

    @rule(server_id=st.sampled_from(IDS), power=st.sampled_from(POWERS))
    def observe(self, server_id: str, power: PowerState) -> None:
        """A guest changes by itself."""
        server = self.server(server_id)
        if server is not None:
            self._happen(server_id, observation.power_observed(server, server.epoch, power))

    @invariant()
    def the_books_balance(self) -> None:
        assert imbalances(self.ledger) == []

    @invariant()
    def members_are_where_their_group_allows(self) -> None:
        assert broken(self.ledger, GROUPS) == []

    @invariant()
    def no_living_server_is_without_its_claim(self) -> None:
        for server in map(self.server, IDS):
            if server and server.host_id and server.vm_state != DELETED and server.task_state != deletion.DELETING:
                held = [self.ledger.claims.get(server.id)]
                held += [self.ledger.claims.get(server.move.id)] if server.move else []
                assert any(claim and server.host_id in claim.allocations for claim in held), server

    @precondition(lambda self: self.events)
    @rule()
    def come_to_rest(self) -> None:
        """Everybody works on, and nothing fails any more: then each claim is one that a server has."""
        for server_id in IDS:
            for _ in range(40):
                server = self.server(server_id)
                if server is None or not server.unfinished:
                    break
                if isinstance(next_step(server, NOW), Command | Leave):
                    self._report(server_id)
                else:
                    self._conduct(server, NOW + 2 * DAY if server.action is None else NOW)
            else:
                pytest.fail(f"it does not come to rest: {self.server(server_id)}")
        expected: dict[str, str | None] = {}
        for server in map(self.server, IDS):
            if server is None:
                continue
            if server.vm_state == DELETED or server.never_came:
                # What a conductor has claimed too late is given back in time.
                self._apply(release(self.ledger, server.id, None))
                continue
            expected[server.id] = server.host_id
            if server.move and server.move.source.host_id != server.host_id:
                expected[server.move.id] = server.move.source.host_id
        assert {one: next(iter(claim.allocations)) for one, claim in self.ledger.claims.items()} == expected


TestCell = Cell.TestCase
TestCell.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
