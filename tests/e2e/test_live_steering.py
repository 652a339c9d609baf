"""Guests that write their memory faster than it is sent, on real hosts: each migration ends as was said.

The network between the hosts is made slow; a guest that stands still for it is sent in two seconds.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from adapters.rest.compute.servers.migration_orders import DEADLINE, POLICY
from tests.e2e.guests import await_console, remote_console, say, terminal
from tests.e2e.live_stack import LiveStack
from tests.waiting import wait_until

HOST = "OS-EXT-SRV-ATTR:host"
MIB = "8"
"""A second between the hosts."""
WRITES = (
    "mkdir -p /mnt/t; mount -t tmpfs none /mnt/t; dd if=/dev/urandom of=/mnt/t/a bs=1M count=8 2>/dev/null; "
    "(while :; do cp /mnt/t/a /mnt/t/b; cp /mnt/t/a /mnt/t/c; done) & echo writing=$((40+2))"
)
COUNTS = (
    "(n=0; while :; do n=$((n+1)); echo $n $(cut -d' ' -f1 /proc/uptime); sleep 0.1; done > /tmp/counts) & "
    "echo counting=$((40+2))"
)
COUNTED = (
    "awk 'NR>1 && $1!=p+1 {bad=1} NR>1 && $2-u>gap {gap=$2-u} {p=$1; u=$2} "
    'END {print "lost=" bad+0 " enough=" (NR>50) " gap=" gap}\' /tmp/counts'
)


@pytest.fixture(scope="module")
def cloud() -> Iterator[LiveStack]:
    live = LiveStack(Path(mkdtemp(prefix="lcs-")), "--hosts", "3")
    live.environment["LIGHTCURVE_COMPUTE_MIGRATION_MIB"] = MIB
    try:
        live.up()
        yield live
    finally:
        live.down()


def boot(cloud: LiveStack, name: str, host: str) -> str:
    server = cloud.create(name, host=host)
    cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=1")
    return server


def tell(cloud: LiveStack, server: str, command: str, awaited: str) -> None:
    with terminal(remote_console(cloud, server, "serial")) as viewer:
        say(viewer, command, awaited)


def live_migrate(cloud: LiveStack, server: str, **headers: str) -> None:
    body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
    answer = cloud.call("POST", f"/compute/v2.1/servers/{server}/action", body, **headers)
    assert answer.status == 202, answer


def leaving(cloud: LiveStack, server: str) -> str:
    """The id of its migration, once memory is being sent."""

    def found() -> str | None:
        rows = cloud.call("GET", f"/compute/v2.1/servers/{server}/migrations").json()["migrations"]
        sent = [row for row in rows if row["status"] == "running" and row["memory_processed_bytes"]]
        return str(sent[0]["id"]) if sent else None

    return str(wait_until(found, 60, "it leaves"))


def outcome(cloud: LiveStack, server: str) -> str:
    rows = cloud.call("GET", f"/compute/v2.1/os-migrations?instance_uuid={server}").json()["migrations"]
    return str(rows[0]["status"])


def place(cloud: LiveStack, server: str) -> str:
    found = cloud.show(server)
    assert found
    return str(found[HOST])


def test_aborted_and_forced_by_the_unmodified_client(cloud: LiveStack, capsys: pytest.CaptureFixture[str]) -> None:
    server, neighbour = boot(cloud, "restless", "node1"), boot(cloud, "neighbour", "node3")
    found = cloud.show(server)
    assert found
    ((address,),) = found["addresses"].values()
    tell(cloud, server, COUNTS, "counting=42")
    tell(cloud, server, WRITES, "writing=42")
    cloud.openstack("server", "migrate", "--live-migration", "--host", "node2", server)
    migration = leaving(cloud, server)
    # The client's own `server migration show` asks for a server and a migration the wrong way round.
    shown = cloud.call("GET", f"/compute/v2.1/servers/{server}/migrations/{migration}").json()["migration"]
    assert shown["memory_total_bytes"] > shown["memory_remaining_bytes"] > 0
    found = cloud.show(server)
    assert found
    assert 0 < found["progress"] < 100
    cloud.openstack("server", "migration", "abort", server, migration)
    cloud.await_status(server, "ACTIVE")
    assert (place(cloud, server), outcome(cloud, server)) == ("node1", "cancelled")
    cloud.openstack("server", "migrate", "--live-migration", "--host", "node2", server)
    migration = leaving(cloud, server)
    tell(cloud, neighbour, f"(ping -c 15 {address['addr']} > /tmp/ping) & echo pinging=$((40+2))", "pinging=42")
    cloud.openstack("server", "migration", "force", "complete", server, migration)
    cloud.await_status(server, "ACTIVE")
    assert (place(cloud, server), outcome(cloud, server)) == ("node2", "completed")
    tell(cloud, server, COUNTED, "lost=0 enough=1")
    tell(cloud, neighbour, "wait; tail -2 /tmp/ping", "15 packets transmitted, 1")
    story = [line for line in cloud.lightcurve("log", server).stdout.splitlines() if "server.arrived" in line]
    assert "downtime_ms" in story[0]
    with capsys.disabled():
        print(f"\n{story[0]}")
    for each in (server, neighbour):
        cloud.openstack("server", "delete", "--wait", each)
    cloud.lightcurve("placement", "check")


@pytest.mark.long
@pytest.mark.parametrize(("policy", "there", "status"), [
    ("abort", "node1", "cancelled"), ("force_complete", "node2", "completed"),
])  # fmt: skip
def test_each_ends_at_its_deadline_as_was_said(cloud: LiveStack, policy: str, there: str, status: str) -> None:
    server = boot(cloud, f"ends-by-{policy.replace('_', '-')}", "node1")
    cloud.openstack("compute", "service", "set", "--disable", "node3", "nova-compute")
    try:
        tell(cloud, server, WRITES, "writing=42")
        begun = time.monotonic()
        live_migrate(cloud, server, **{DEADLINE.replace("-", "_"): "30", POLICY.replace("-", "_"): policy})
        cloud.await_status(server, "ACTIVE")
        assert 30 <= time.monotonic() - begun <= 35 + 2
        assert (place(cloud, server), outcome(cloud, server)) == (there, status)
        cloud.openstack("server", "delete", "--wait", server)
    finally:
        cloud.openstack("compute", "service", "set", "--enable", "node3", "nova-compute")
    cloud.lightcurve("placement", "check")


@pytest.mark.long
def test_a_deadline_is_changed_while_it_leaves(cloud: LiveStack) -> None:
    server = boot(cloud, "other-time", "node1")
    tell(cloud, server, WRITES, "writing=42")
    live_migrate(cloud, server, **{POLICY.replace("-", "_"): "keep_trying"})
    path = f"/compute/v2.1/servers/{server}/migrations/{leaving(cloud, server)}"
    changed = cloud.call("PUT", path, **{DEADLINE.replace("-", "_"): "8", POLICY.replace("-", "_"): "force_complete"})
    begun = time.monotonic()
    assert (changed.status, changed.headers[POLICY.lower()]) == (202, "force_complete")
    cloud.await_status(server, "ACTIVE")
    assert time.monotonic() - begun <= 8 + 5 + 2
    assert outcome(cloud, server) == "completed"
    cloud.openstack("server", "delete", "--wait", server)


@pytest.mark.long
def test_one_that_is_paused_moves_and_stays_so(cloud: LiveStack) -> None:
    server = boot(cloud, "still", "node1")
    tell(cloud, server, COUNTS, "counting=42")
    cloud.openstack("server", "pause", server)
    cloud.await_status(server, "PAUSED")
    cloud.openstack("server", "migrate", "--live-migration", "--host", "node2", server)
    cloud.await_status(server, "PAUSED")
    assert place(cloud, server) == "node2"
    cloud.openstack("server", "unpause", server)
    cloud.await_status(server, "ACTIVE")
    tell(cloud, server, "sleep 8; " + COUNTED, "lost=0")
    cloud.openstack("server", "delete", "--wait", server)
