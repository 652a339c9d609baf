"""A stack with two real hosts on this machine, driven as a user drives it."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.e2e.guests import await_console, remote_console, say, terminal
from tests.e2e.live_stack import LiveStack
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def cloud() -> Iterator[LiveStack]:
    live = LiveStack(Path(mkdtemp(prefix="lce-")), "--hosts", "2")
    try:
        live.up()
        yield live
    finally:
        live.down()


def create_on(cloud: LiveStack, host: str) -> str:
    return cloud.create(f"on-{host}", host=host)


def inside(cloud: LiveStack, host: str, *words: str) -> str:
    return cloud.lightcurve("host", "exec", host, *words).stdout


def test_guests_of_two_hosts(cloud: LiveStack) -> None:
    servers = {host: create_on(cloud, host) for host in ("node1", "node2")}
    addresses = {}
    for host, server in servers.items():
        found = cloud.await_status(server, "ACTIVE")
        assert found["OS-EXT-SRV-ATTR:host"] == host
        ((address,),) = found["addresses"].values()
        addresses[host] = address["addr"]
        assert server in inside(cloud, host, "virsh", "list")
        # Its name is what the metadata service said, to this host and for this guest.
        await_console(cloud, server, f"BOOT-COMPLETE hostname=on-{host} ")
    listed = cloud.lightcurve("status").stdout
    assert all(f"{host}  cell1  up" in listed for host in servers)
    serial = remote_console(cloud, servers["node2"], "serial")
    with terminal(serial) as viewer:
        ask = f"timeout 4 wget -qO- http://{addresses['node1']}/cgi-bin/index.cgi"
        say(viewer, ask, f"uuid={servers['node1']}")
    token = remote_console(cloud, servers["node2"], "novnc").rpartition("%3D")[2]
    with terminal(serial.partition("=")[0] + f"={token}") as viewer:
        assert viewer.recv().startswith(b"RFB 003.008")


def test_guests_outlive_the_stack_and_a_killed_supervisor(cloud: LiveStack) -> None:
    server = create_on(cloud, "node2")
    cloud.await_status(server, "ACTIVE")
    qemu = inside(cloud, "node2", "pgrep", "-f", f"guest=instance-{server}").split()
    cloud.lightcurve("down")
    cloud.up()
    state = json.loads((cloud.directory / "run" / "supervisor.json").read_text())
    os.kill(state["pid"], signal.SIGKILL)
    cloud.up()
    assert inside(cloud, "node2", "pgrep", "-f", f"guest=instance-{server}").split() == qemu
    cloud.call("POST", f"/compute/v2.1/servers/{server}/action", {"os-stop": None})
    cloud.await_status(server, "SHUTOFF")


def test_a_host_that_is_cut_off_is_down_and_comes_back(cloud: LiveStack) -> None:
    def host_is(state: str) -> bool:
        services = cloud.call("GET", "/compute/v2.1/os-services?host=node2").json()["services"]
        return bool(services) and services[0]["state"] == state

    forwarder = cloud.pid("forwarder-node2")
    os.kill(forwarder, signal.SIGSTOP)
    try:
        wait_until(lambda: host_is("down"), 60)
    finally:
        os.kill(forwarder, signal.SIGCONT)
    wait_until(lambda: host_is("up"), 60)


def test_more_hosts_come_and_none_goes(cloud: LiveStack) -> None:
    refused = cloud.lightcurve("up", "--hosts", "3", check=False)
    assert "up already" in refused.stderr
    cloud.lightcurve("down")
    refused = cloud.lightcurve("up", "--hosts", "1", check=False)
    assert "2 hosts already" in refused.stderr
    refused = cloud.lightcurve("up", "--simulated-hosts", "1", check=False)
    assert "erase it first" in refused.stderr
    cloud.lightcurve("up", *cloud.ports, "--hosts", "3")
    assert inside(cloud, "node3", "hostname").strip() == "node3"
    refused = cloud.lightcurve("host", "exec", "node4", "true", check=False)
    assert "could not be found" in refused.stderr


def test_nothing_is_left_of_it(cloud: LiveStack) -> None:
    cloud.await_status(create_on(cloud, "node1"), "ACTIVE")
    state = json.loads((cloud.directory / "run" / "supervisor.json").read_text())
    os.kill(state["pid"], signal.SIGKILL)
    done = cloud.lightcurve("down", "--erase", check=False)
    assert done.returncode == 0, done.stderr
    assert not cloud.directory.exists()
    wait_until(lambda: not _traces(cloud.directory), 30)


def _traces(directory: Path) -> list[str]:
    """Mounts, and processes that live."""
    found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text()
        except OSError:
            continue
        if str(directory) in words:
            found.append(words)
    return found
