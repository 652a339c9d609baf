"""``kill -9`` of each process in each phase of each move: a server ends on one host, with its disk and its claim.

One guest is moved about all the time. Its disk counts its boots, and it tells the count at its serial console.
"""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.e2e.guests import await_console, console_log
from tests.e2e.live_stack import LiveStack, wait_until

pytestmark = pytest.mark.long

HOST = "OS-EXT-SRV-ATTR:host"
NODES = ("node1", "node2")
SETTLE_SECONDS = 400.0
"""Commands are sent again after a minute, and what fails at the target goes back to the source."""
VICTIMS = ("source", "target", "libvirtd of source", "libvirtd of target", "conductor", "nats", "postgres")
COLD = ("migrate_requested", "target_chosen", "source_ready")
CONFIRM = ("resize_confirm_requested",)
REVERT = ("resize_revert_requested", "target_cleared")
LIVE = ("live_migrate_requested", "target_chosen", "target_ready", "arrived")
SHELVE = ("shelve_requested", "laid_down", "disk_saved", "shelved")
UNSHELVE = ("unshelve_requested", "placed")
EVACUATE = ("evacuate_requested", "target_chosen")
IN_THE_MIDDLE = ("api-1", "conductor", "nats", "postgres")
AT_SOURCE, AT_TARGET = ("source", "libvirtd of source"), ("target", "libvirtd of target")
CASES = [
    *itertools.product(["migrate"], COLD, VICTIMS),
    *itertools.product(["confirmResize"], CONFIRM, VICTIMS),
    *itertools.product(["revertResize"], REVERT, VICTIMS),
    *itertools.product(["os-migrateLive"], LIVE, VICTIMS),
    *itertools.product(["shelve"], SHELVE, (*AT_SOURCE, *IN_THE_MIDDLE)),
    *itertools.product(["unshelve"], UNSHELVE, (*AT_TARGET, *IN_THE_MIDDLE)),
    *itertools.product(["evacuate"], EVACUATE, ("source", *AT_TARGET, *IN_THE_MIDDLE)),
]

SETTLED = ("ACTIVE", "SHUTOFF", "VERIFY_RESIZE", "SHELVED_OFFLOADED", "ERROR")
BEFORE = {
    "confirmResize": ("migrate", "VERIFY_RESIZE"),
    "revertResize": ("migrate", "VERIFY_RESIZE"),
    "unshelve": ("shelve", "SHELVED_OFFLOADED"),
}
"""What has to be done first, and what the server is then."""


class Traveller:
    """The guest, and where it has been."""

    def __init__(self, cloud: LiveStack) -> None:
        self.cloud = cloud
        self.id = cloud.create("traveller", host="node1")
        cloud.await_status(self.id, "ACTIVE")
        await_console(cloud, self.id, "boots=1")
        self._boots = 1

    @property
    def host(self) -> str:
        server = self.cloud.show(self.id)
        assert server
        return str(server[HOST])

    def act(self, action: str, target: str) -> None:
        bodies: dict[str, object] = {
            "os-migrateLive": {"host": None, "block_migration": "auto"}, "unshelve": {"host": target}, "evacuate": {},
        }  # fmt: skip
        body = bodies.get(action)
        answer = self.cloud.call("POST", f"/compute/v2.1/servers/{self.id}/action", {action: body})
        assert answer.status in (200, 202, 204), answer

    def told(self) -> int:
        """How many events there are of it."""
        return len(self.events())

    def events(self) -> list[str]:
        found = self.cloud.call("GET", f"/audit/events?server_id={self.id}&type=server.&limit=1000").json()
        return [event["type"].rpartition("server.")[2] for event in found]

    def settled(self) -> dict[str, object]:
        """Once nothing is under way any more."""
        return self.cloud.await_status(self.id, *SETTLED, seconds=SETTLE_SECONDS)

    def has_a_fresh_disk(self) -> None:
        self._boots = 0

    def boots_once_more(self) -> None:
        """From the disk that it has always had: the count goes on."""
        self.cloud.call("POST", f"/compute/v2.1/servers/{self.id}/action", {"reboot": {"type": "HARD"}})

        def counted() -> int:
            return max(map(int, re.findall(r"boots=(\d+)", console_log(self.cloud, self.id))), default=0)

        wait_until(lambda: counted() > self._boots, 120, "it has booted once more")
        self._boots = counted()

    def at_home(self) -> None:
        """Back to a state from which everything can begin, by the user's means alone."""
        status = self.settled()["status"]
        if status == "VERIFY_RESIZE":
            self.act("confirmResize", "")
        elif status == "SHELVED_OFFLOADED":
            self.act("unshelve", NODES[0])
        elif status == "SHUTOFF":
            self.act("os-start", "")
        elif status == "ERROR":
            self.cloud.call("POST", f"/compute/v2.1/servers/{self.id}/action", {"reboot": {"type": "HARD"}})
        self.cloud.await_status(self.id, "ACTIVE", seconds=SETTLE_SECONDS)


@pytest.fixture(scope="module")
def cloud() -> Iterator[LiveStack]:
    live = LiveStack(Path(mkdtemp(prefix="lck-")), "--hosts", "2")
    try:
        live.up()
        yield live
    finally:
        live.down()


@pytest.fixture(scope="module")
def traveller(cloud: LiveStack) -> Traveller:
    return Traveller(cloud)


@pytest.mark.parametrize(("action", "phase", "victim"), CASES)
def test_a_move_survives_the_death_of(traveller: Traveller, action: str, phase: str, victim: str) -> None:
    cloud = traveller.cloud
    traveller.at_home()
    source = traveller.host
    target = NODES[1 - NODES.index(source)]
    if action in BEFORE:
        first, status = BEFORE[action]
        traveller.act(first, "")
        cloud.await_status(traveller.id, status, seconds=SETTLE_SECONDS)
    before = traveller.told()
    if action == "evacuate":
        declare(cloud, source, dead=True)
    traveller.act(action, target)
    wait_until(lambda: phase in traveller.events()[before:], 60, f"{phase} is told of")
    cloud.kill(_program(victim, source))
    wait_until(lambda: _answers(cloud), 60, "the API answers again")
    server = traveller.settled()
    if action == "evacuate":
        declare(cloud, source, dead=False)
        traveller.has_a_fresh_disk()
    assert server["status"] != "ERROR" or server["fault"], "it says why"
    assert_on_one_host(traveller)
    cloud.lightcurve("placement", "check")
    traveller.at_home()
    assert_nothing_elsewhere(traveller)
    traveller.boots_once_more()


def declare(cloud: LiveStack, host: str, *, dead: bool) -> None:
    """Say that a host is dead, or that it is not."""
    found = cloud.call("GET", f"/compute/v2.1/os-services?binary=nova-compute&host={host}").json()["services"]
    answer = cloud.call("PUT", f"/compute/v2.1/os-services/{found[0]['id']}", {"forced_down": dead})
    assert answer.status == 200, answer


def _program(victim: str, source: str) -> str:
    target = NODES[1 - NODES.index(source)]
    kind, _, side = victim.rpartition(" of ")
    if victim in ("source", "target"):
        return f"compute-{source if victim == 'source' else target}"
    return f"{kind}-{source if side == 'source' else target}" if kind else victim


def _answers(cloud: LiveStack) -> bool:
    try:
        return cloud.call("GET", "/compute/v2.1/servers").status == 200
    except OSError:
        return False


def running(cloud: LiveStack, server_id: str) -> list[str]:
    """The hosts on which its guest runs."""
    found = []
    for node in NODES:
        listed = cloud.lightcurve("host", "exec", node, "virsh", "list", "--name", check=False)
        found += [node] if server_id in listed.stdout else []
    return found


def assert_on_one_host(traveller: Traveller) -> None:
    wait_until(lambda: len(running(traveller.cloud, traveller.id)) <= 1, 120, "it runs on one host at the most")
    found = running(traveller.cloud, traveller.id)
    server = traveller.cloud.show(traveller.id)
    assert server
    if server["status"] in ("ACTIVE", "VERIFY_RESIZE"):
        assert found == [server[HOST]]


def assert_nothing_elsewhere(traveller: Traveller) -> None:
    """No files on the other host, one claim, one port."""
    root = traveller.cloud.directory / "embedded-hosts"

    def left() -> set[str]:
        return {node for node in NODES if (root / node / "compute" / "instances" / traveller.id).exists()}

    wait_until(lambda: left() == {traveller.host}, 150, "nothing is left on the other host")
    held = json.loads(traveller.cloud.lightcurve("holdings").stdout)
    assert (len(held["claims"]), held["imbalances"], len(held["ports"])) == (1, [], 1)
