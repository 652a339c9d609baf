"""Real guests become images, and servers again: on their host, and on others."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.e2e.guests import await_console, remote_console, say, terminal
from tests.e2e.live_stack import LiveStack
from tests.e2e.test_moves import HOST, disks
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def cloud() -> Iterator[LiveStack]:
    live = LiveStack(Path(mkdtemp(prefix="lcs-")), "--hosts", "3")
    try:
        live.up()
        yield live
    finally:
        live.down()


def image_of(cloud: LiveStack, image_id: str) -> dict[str, object]:
    found: dict[str, object] = cloud.call("GET", f"/image/v2/images/{image_id}").json()
    return found


def test_an_image_of_a_running_guest_and_a_server_of_it(cloud: LiveStack) -> None:
    server = cloud.create("original", host="node1")
    cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=1")
    with terminal(remote_console(cloud, server, "serial")) as viewer:
        say(viewer, "echo kept-$((40+2)) > /boot/proof; sync; cat /boot/proof", "kept-42")
        made = json.loads(cloud.openstack("server", "image", "create", "--name", "backup", server, "-f", "json"))
        cloud.await_status(server, "ACTIVE")
        wait_until(lambda: image_of(cloud, made["id"])["status"] == "active", 60, "the image has its bytes")
        # It runs on, and was not booted again.
        say(viewer, "cat /boot/boots", "1")
    image = image_of(cloud, made["id"])
    assert (image["instance_uuid"], image["image_type"], image["disk_format"]) == (server, "snapshot", "qcow2")
    copy = cloud.create("copy", imageRef=made["id"], host="node2")
    cloud.await_status(copy, "ACTIVE")
    await_console(cloud, copy, "boots=2")
    with terminal(remote_console(cloud, copy, "serial")) as viewer:
        say(viewer, "cat /boot/proof", "kept-42")
    for each in (server, copy):
        cloud.openstack("server", "delete", "--wait", each)


def test_a_server_is_put_away_and_comes_back_on_another_host(cloud: LiveStack) -> None:
    server = cloud.create("sleeper", host="node1")
    before = cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=1")
    with terminal(remote_console(cloud, server, "serial")) as viewer:
        say(viewer, "echo kept-$((40+2)) > /boot/proof; sync; cat /boot/proof", "kept-42")
    cloud.openstack("server", "shelve", "--wait", server)
    away = cloud.await_status(server, "SHELVED_OFFLOADED")
    assert (away[HOST], away["hostId"], away["addresses"]) == (None, "", before["addresses"])
    assert disks(cloud, server) == {}
    assert server not in cloud.lightcurve("host", "exec", "node1", "virsh", "list", "--all", "--uuid").stdout
    cloud.lightcurve("placement", "check")
    cloud.openstack("server", "unshelve", "--host", "node3", "--wait", server)
    after = cloud.await_status(server, "ACTIVE")
    assert (after[HOST], after["addresses"]) == ("node3", before["addresses"])
    await_console(cloud, server, "boots=2")
    with terminal(remote_console(cloud, server, "serial")) as viewer:
        say(viewer, "cat /boot/proof", "kept-42")
    gone = cloud.call("GET", "/image/v2/images?name=sleeper-shelved").json()["images"]
    assert gone == []
    # Its disk stands alone, and goes on as any other.
    cloud.openstack("server", "migrate", "--live-migration", "--host", "node2", server)
    cloud.await_status(server, "ACTIVE")
    assert set(disks(cloud, server)) == {"node2"}
    with terminal(remote_console(cloud, server, "serial")) as viewer:
        say(viewer, "cat /boot/proof", "kept-42")
    cloud.openstack("server", "delete", "--wait", server)
    assert disks(cloud, server) == {}
    cloud.lightcurve("placement", "check")
