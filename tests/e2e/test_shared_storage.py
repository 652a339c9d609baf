"""Real hosts that have their guests' disks in common."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.e2e.guests import await_console, remote_console, say, terminal
from tests.e2e.live_stack import LiveStack
from tests.e2e.test_evacuate import guests, statuses, stop_at_once
from tests.e2e.test_moves import act, disks, place
from tests.waiting import wait_until

WRITE = "dd of=/dev/vdb bs=512 seek=2000 conv=sync"
READ = "dd if=/dev/vdb bs=512 skip=2000 count=1 | head -1"


@pytest.fixture(scope="module")
def cloud() -> Iterator[LiveStack]:
    live = LiveStack(Path(mkdtemp(prefix="lcs-")), "--hosts", "2", "--shared-instances")
    try:
        live.up()
        yield live
    finally:
        live.down()


def in_common(cloud: LiveStack) -> list[str]:
    """All disks that the hosts share."""
    root = cloud.directory / "embedded-hosts" / "shared" / "disks"
    return sorted(path.name for path in root.rglob("disk-*.qcow2"))


@pytest.mark.long
def test_a_server_moves_and_its_disk_stays(cloud: LiveStack) -> None:
    cloud.openstack(
        "flavor",
        "create",
        "--ram",
        "128",
        "--disk",
        "1",
        "--ephemeral",
        "1",
        "--swap",
        "16",
        "--id",
        "43",
        "m1.disks",
    )
    server = cloud.create("sharing", host="node1", flavorRef="43")
    cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=1")
    with terminal(remote_console(cloud, server, "serial")) as viewer:
        say(viewer, f"echo $((40+2))kept | {WRITE}; sync; cat /proc/swaps; echo $((40+1))done", "41done")
        say(viewer, READ, "42kept")
    assert in_common(cloud) == ["disk-1-0.qcow2"]
    cloud.openstack("server", "migrate", "--live-migration", "--host", "node2", server)
    cloud.await_status(server, "ACTIVE")
    assert place(cloud, server) == "node2"
    assert set(disks(cloud, server)) == {"node2"}
    assert in_common(cloud) == ["disk-1-0.qcow2"]
    with terminal(remote_console(cloud, server, "serial")) as viewer:
        say(viewer, "sync; cat /boot/boots", "1")
        # Its second disk was sent, beside the one that stays.
        say(viewer, READ, "42kept")
    # A cold migration leaves the source its disk until it is confirmed, also here.
    act(cloud, server, migrate=None)
    cloud.await_status(server, "VERIFY_RESIZE")
    await_console(cloud, server, "boots=2")
    with terminal(remote_console(cloud, server, "serial")) as viewer:
        say(viewer, READ, "42kept")
    assert in_common(cloud) == ["disk-1-0.qcow2", "disk-3-0.qcow2"]
    act(cloud, server, revertResize=None)
    cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=2")
    assert place(cloud, server) == "node2"
    assert in_common(cloud) == ["disk-1-0.qcow2"]
    cloud.openstack("server", "delete", "--wait", server)
    assert in_common(cloud) == []
    cloud.lightcurve("placement", "check")


@pytest.mark.long
def test_a_dead_hosts_server_goes_on_with_its_disk(cloud: LiveStack) -> None:
    server = cloud.create("kept", host="node1")
    cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=1")
    with terminal(remote_console(cloud, server, "serial")) as viewer:
        # FAT has the disk itself flushed for a file only, and what was not flushed dies with its host.
        say(viewer, "dd if=/boot/boots of=/boot/flushed conv=fsync; echo $((40+2))done", "42done")
    stopped = stop_at_once(cloud, "node1")
    for qemu in guests(server):
        os.kill(qemu, signal.SIGKILL)
    cloud.openstack("compute", "service", "set", "--down", "node1", "nova-compute")
    cloud.openstack("--os-compute-api-version", "2.94", "server", "evacuate", server)
    cloud.await_status(server, "ACTIVE")
    assert place(cloud, server) == "node2"
    await_console(cloud, server, "boots=2")
    for process in stopped:
        process.kill()
    cloud.openstack("compute", "service", "set", "--up", "node1", "nova-compute")
    wait_until(lambda: statuses(cloud, server) == ["completed"], 90, "nothing is left at the host that was dead")
    # Which has let go of the disk, and has not removed it.
    assert set(disks(cloud, server)) == {"node2"}
    assert in_common(cloud) == ["disk-1-0.qcow2"]
    cloud.openstack("server", "delete", "--wait", server)
    assert in_common(cloud) == []
