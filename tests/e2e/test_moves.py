"""Real guests between real hosts: resize, cold migration, and the ways back."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.e2e.guests import await_console, remote_console, say, terminal
from tests.e2e.live_stack import LiveStack

HOST = "OS-EXT-SRV-ATTR:host"


@pytest.fixture(scope="module")
def cloud() -> Iterator[LiveStack]:
    live = LiveStack(Path(mkdtemp(prefix="lcm-")), "--hosts", "2")
    try:
        live.up()
        yield live
    finally:
        live.down()


def act(cloud: LiveStack, server: str, **action: object) -> None:
    cloud.call("POST", f"/compute/v2.1/servers/{server}/action", action)


def place(cloud: LiveStack, server: str) -> str:
    return str(cloud.show(server)[HOST])


def disks(cloud: LiveStack, server: str) -> dict[str, list[str]]:
    """What is left of a server, by host."""
    root = cloud.directory / "embedded-hosts"
    found = {node.name: sorted(path.name for path in (node / "compute" / "instances" / server).glob("*"))
             for node in sorted(root.glob("node*"))}  # fmt: skip
    return {name: files for name, files in found.items() if files}


def test_a_cold_migration_there_and_back(cloud: LiveStack) -> None:
    server = cloud.create("wanderer", host="node1")
    cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=1")
    act(cloud, server, migrate=None)
    cloud.await_status(server, "VERIFY_RESIZE")
    assert place(cloud, server) == "node2"
    # Its disk has counted the boots.
    await_console(cloud, server, "boots=2")
    assert set(disks(cloud, server)) == {"node1", "node2"}
    act(cloud, server, revertResize=None)
    cloud.await_status(server, "ACTIVE")
    assert place(cloud, server) == "node1"
    assert set(disks(cloud, server)) == {"node1"}
    await_console(cloud, server, "boots=2")
    act(cloud, server, migrate=None)
    cloud.await_status(server, "VERIFY_RESIZE")
    act(cloud, server, confirmResize=None)
    cloud.await_status(server, "ACTIVE")
    assert place(cloud, server) == "node2"
    assert set(disks(cloud, server)) == {"node2"}
    rows = cloud.call("GET", f"/compute/v2.1/os-migrations?instance_uuid={server}").json()["migrations"]
    assert [row["status"] for row in rows] == ["confirmed", "reverted"]
    cloud.lightcurve("placement", "check")


def test_a_resize_by_the_unmodified_client(cloud: LiveStack) -> None:
    cloud.openstack("flavor", "create", "--ram", "160", "--disk", "2", "--vcpus", "1", "m1.grown")
    server = cloud.create("grown", host="node2")
    cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=1")
    cloud.openstack("server", "resize", "--flavor", "m1.grown", "--wait", server)
    found = cloud.await_status(server, "VERIFY_RESIZE")
    assert found["flavor"]["original_name"] == "m1.grown"
    await_console(cloud, server, "boots=2")
    node = cloud.directory / "embedded-hosts" / found[HOST]
    disk = node / "compute" / "instances" / server / "disk.qcow2"
    shown = subprocess.run(["qemu-img", "info", "-U", "--output=json", disk], capture_output=True, check=True)
    assert json.loads(shown.stdout)["virtual-size"] == 2 << 30
    cloud.openstack("server", "resize", "confirm", server)
    cloud.await_status(server, "ACTIVE")
    assert len(disks(cloud, server)) == 1
    cloud.openstack("server", "delete", "--wait", server)
    assert disks(cloud, server) == {}
    cloud.lightcurve("placement", "check")


def test_a_live_migration(cloud: LiveStack) -> None:
    server = cloud.create("alive", host="node1")
    cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=1")
    cloud.openstack("server", "migrate", "--live-migration", "--host", "node2", server)
    cloud.await_status(server, "ACTIVE")
    assert place(cloud, server) == "node2"
    assert set(disks(cloud, server)) == {"node2"}
    assert server not in cloud.lightcurve("host", "exec", "node1", "virsh", "list", "--all").stdout
    # It was not booted again: it answers where it stood.
    with terminal(remote_console(cloud, server, "serial")) as viewer:
        say(viewer, "cat /boot/boots", "1")
    rows = cloud.call("GET", f"/compute/v2.1/os-migrations?instance_uuid={server}").json()["migrations"]
    assert [(row["status"], row["migration_type"]) for row in rows] == [("completed", "live-migration")]
    cloud.openstack("server", "delete", "--wait", server)
    assert disks(cloud, server) == {}
    cloud.lightcurve("placement", "check")


def test_a_resize_within_its_host_and_back(cloud: LiveStack) -> None:
    """No other host takes it."""
    server = cloud.create("stays", host="node1")
    cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=1")
    cloud.openstack("compute", "service", "set", "--disable", "node2", "nova-compute")
    try:
        cloud.openstack("server", "resize", "--flavor", "m1.grown", server)
        cloud.await_status(server, "VERIFY_RESIZE")
        assert place(cloud, server) == "node1"
        await_console(cloud, server, "boots=2")
        cloud.openstack("server", "resize", "revert", server)
        assert cloud.await_status(server, "ACTIVE")["flavor"]["original_name"] == "m1.nano"
        # The disk that was set aside has seen one boot.
        assert "boots=3" not in await_console(cloud, server, "BOOT-COMPLETE")
    finally:
        cloud.openstack("compute", "service", "set", "--enable", "node2", "nova-compute")
    cloud.openstack("server", "delete", "--wait", server)
    assert disks(cloud, server) == {}
    cloud.lightcurve("placement", "check")
