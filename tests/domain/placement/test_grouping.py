"""Where servers may be because of others."""

import pytest

from domain.affinity import AFFINITY, ANTI_AFFINITY, SOFT_AFFINITY, SOFT_ANTI_AFFINITY, Terms
from domain.errors import NoCapacity
from domain.placement import grouping
from domain.placement.ledger import Claimed, Ledger, leave_group, offer, release
from domain.placement.ledger.allocations import NewAllocations, decide
from domain.placement.ledger.inventory import Inventory
from domain.placement.ledger_snapshot import dump, restore
from domain.placement.moving import claim_target, settle
from domain.placement.scheduling import Demand, HostView, place
from tests.groups import broken

HOSTS = ("a", "b", "c")
VIEWS = {
    name: HostView(id=name, name=name, availability_zone="nova", enabled=True, up=True, address=f"10.0.{number}.1")
    for number, name in enumerate(HOSTS)
}


class Book:
    """A ledger of three hosts, where servers get what they ask for."""

    def __init__(self, vcpus: int = 10) -> None:
        self.ledger = Ledger()
        for number, name in enumerate(HOSTS):
            # The first one is the emptiest, whatever is claimed.
            total = vcpus * (10 if number == 0 else 1)
            for change in offer(self.ledger, name, name, {"VCPU": Inventory(total=total, max_unit=total)}):
                self.ledger.apply(change)

    def demand(self, server_id: str, policy: str | None = None, **more: object) -> Demand:
        maximum = more.pop("max_per_host", 1)
        group = Terms(group_id="g", policy=policy, max_per_host=maximum) if policy else None
        base = {"epoch": 1, "project_id": "p", "user_id": "u", "resources": {"VCPU": 1}, "group": group}
        return Demand(server_id=server_id, **(base | more))

    def place(self, server_id: str, policy: str | None = None, **more: object) -> str:
        return self.take(place(self.ledger, VIEWS, self.demand(server_id, policy, **more)))

    def move(self, server_id: str, policy: str, source: str, *, may_stay: bool = False, **more: object) -> str:
        demand = self.demand(server_id, policy, source=source, **({"epoch": 2} | more))
        return self.take(*claim_target(self.ledger, VIEWS, demand, f"move-{server_id}", may_stay=may_stay))

    def settle(self, server_id: str, host: str, epoch: int) -> None:
        self.take(*settle(self.ledger, server_id, f"move-{server_id}", host, {"VCPU": 1}, epoch, None))

    def take(self, *claims: object) -> str:
        for change in claims:
            self.ledger.apply(change)
        return next(iter(claims[-1].allocations)) if isinstance(claims[-1], Claimed) else ""


def test_anti_affinity_takes_each_host_once_and_says_why_there_is_none_left() -> None:
    book = Book()
    assert {book.place(server_id, ANTI_AFFINITY) for server_id in "123"} == set(HOSTS)
    with pytest.raises(NoCapacity) as refusal:
        book.place("4", ANTI_AFFINITY)
    assert refusal.value.removed == {"anti-affinity": 3}
    assert "anti-affinity removed 3" in refusal.value.message
    assert grouping.told(refusal.value.removed) == (
        " Of the hosts, the anti-affinity policy of its server group ruled out 3."
    )
    assert book.place("5") == "a", "no member"


def test_as_many_on_a_host_as_the_rule_says() -> None:
    book = Book()
    placed = [book.place(server_id, ANTI_AFFINITY, max_per_host=2) for server_id in "123456"]
    assert sorted(placed) == ["a", "a", "b", "b", "c", "c"]
    with pytest.raises(NoCapacity):
        book.place("7", ANTI_AFFINITY, max_per_host=2)


def test_affinity_follows_the_first_one_until_its_host_is_full() -> None:
    book = Book(vcpus=2)
    assert book.place("1", AFFINITY, host="b") == "b"
    assert book.place("2", AFFINITY) == "b"
    with pytest.raises(NoCapacity) as refusal:
        book.place("3", AFFINITY)
    assert refusal.value.removed == {"affinity": 2, "VCPU": 1}
    with pytest.raises(NoCapacity) as refusal:
        book.place("3", AFFINITY, host="a")
    assert refusal.value.removed == {"requested_host": 2, "affinity": 1}, "a named host is held to it, too"


def test_soft_policies_come_before_the_weights_and_after_the_room() -> None:
    book = Book(vcpus=2)
    assert book.place("1", SOFT_AFFINITY, host="b") == "b"
    assert book.place("2", SOFT_AFFINITY) == "b", "though a is emptier"
    assert book.place("3", SOFT_AFFINITY) == "a", "b is full"
    apart = Book()
    assert sorted(apart.place(server_id, SOFT_ANTI_AFFINITY) for server_id in "123") == list(HOSTS)
    assert apart.place("4", SOFT_ANTI_AFFINITY) == "a"
    assert apart.place("5", SOFT_ANTI_AFFINITY) in ("b", "c")


def test_who_moves_is_in_nobodys_way_but_his_own_groups() -> None:
    book = Book()
    source = book.place("1", ANTI_AFFINITY, host="a")
    assert book.move("1", ANTI_AFFINITY, source, host="b") == "b"
    # He may come back: both hosts are his.
    assert book.place("2", ANTI_AFFINITY) == "c"
    with pytest.raises(NoCapacity):
        book.place("3", ANTI_AFFINITY)
    # Another target is tried: the first one is free again.
    with pytest.raises(NoCapacity):
        book.move("1", ANTI_AFFINITY, source, epoch=3, excluded_hosts=("b",))
    book.settle("1", "b", 2)
    assert book.place("3", ANTI_AFFINITY) == "a"
    assert broken(book.ledger, [book.demand("", ANTI_AFFINITY).group]) == []


def test_one_of_two_that_shall_be_together_cannot_go_but_grows_where_it_is() -> None:
    book = Book()
    book.place("1", AFFINITY)
    assert book.move("1", AFFINITY, "a", host="b") == "b", "alone it may"
    with pytest.raises(NoCapacity) as refusal:
        book.place("2", AFFINITY)
    assert refusal.value.removed == {"affinity": 3}, "nobody can say where the first one will be"
    book.settle("1", "b", 2)
    assert book.place("2", AFFINITY) == "b"
    with pytest.raises(NoCapacity) as refusal:
        book.move("2", AFFINITY, "b")
    assert refusal.value.removed == {"another_host": 1, "affinity": 2}
    assert book.move("2", AFFINITY, "b", may_stay=True, resources={"VCPU": 3}) == "b"
    assert broken(book.ledger, [book.demand("", AFFINITY).group]) == []


def test_what_is_left_on_a_dead_host_is_no_member() -> None:
    book = Book()
    book.place("1", AFFINITY)
    book.move("1", AFFINITY, "a", host="b")
    book.take(*leave_group(book.ledger, "move-1", None))
    assert leave_group(book.ledger, "move-1", None) == ()
    assert book.place("2", AFFINITY) == "b"
    assert set(book.ledger.claims) == {"1", "2", "move-1"}
    for consumer_id in ("1", "2"):
        book.take(*release(book.ledger, consumer_id, None))
    assert book.ledger.groups == {}


def test_hints_name_servers_of_ones_own_project() -> None:
    book = Book()
    book.place("1", host="b")
    book.place("foreign", host="c", project_id="q")
    assert book.place("2", same_host=("1", "nobody")) == "b"
    assert book.place("3", different_host=("1",), excluded_hosts=("a",)) == "c"
    assert book.place("4", different_host=("foreign",), host="c") == "c"
    with pytest.raises(NoCapacity) as refusal:
        book.place("5", same_host=("foreign",))
    assert refusal.value.removed == {"same_host": 3}
    assert book.place("6", near="10.0.2.77/24") == "c"
    with pytest.raises(NoCapacity) as refusal:
        book.place("7", near="10.9.0.1/24")
    assert refusal.value.removed == {"build_near_host_ip": 3}
    with pytest.raises(NoCapacity):
        book.place("8", near="10.9.0.1/99")


def test_members_survive_snapshots_and_what_placement_says_of_their_claims() -> None:
    book = Book()
    book.place("1", ANTI_AFFINITY)
    asked = NewAllocations(consumer_id="1", allocations={"a": {"VCPU": 2}}, project_id="p", user_id="u")
    for change in decide(book.ledger, (asked,), ""):
        book.ledger.apply(change)
    assert restore(dump(book.ledger)).groups == book.ledger.groups == {"g": {"a": {"1": 1}}}


def test_what_is_taken_back_was_no_member() -> None:
    book = Book()
    undo = book.ledger.apply(place(book.ledger, VIEWS, book.demand("1", AFFINITY)))
    undo()
    assert book.ledger.groups == {}
