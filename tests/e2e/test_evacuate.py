"""Real hosts that die and come back: their servers go on elsewhere, and nothing runs twice. And hosts are drained."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psutil
import pytest

from tests.e2e.guests import await_console
from tests.e2e.live_stack import LiveStack
from tests.e2e.test_moves import HOST, act, disks, place
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def cloud() -> Iterator[LiveStack]:
    live = LiveStack(Path(mkdtemp(prefix="lce-")), "--hosts", "3")
    try:
        live.up()
        yield live
    finally:
        live.down()


def guests(server: str) -> list[int]:
    """The QEMUs that run for it, on whatever host."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(word.startswith(f"guest=instance-{server}") for word in process.cmdline()):
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def brought(cloud: LiveStack, name: str, host: str) -> str:
    """A server that has booted there."""
    server = cloud.create(name, host=host)
    cloud.await_status(server, "ACTIVE")
    await_console(cloud, server, "boots=1")
    return server


def stop_at_once(cloud: LiveStack, host: str) -> list[psutil.Process]:
    """The agent of a host and its libvirtd stand still: its guests run on, and nobody hears of them."""
    agent, watcher = (psutil.Process(cloud.pid(f"{program}-{host}")) for program in ("compute", "libvirtd"))
    (libvirtd,) = [child for child in watcher.children(recursive=True) if child.name() == "libvirtd"]
    stopped = [agent, libvirtd]
    for process in stopped:
        os.kill(process.pid, signal.SIGSTOP)
    return stopped


def statuses(cloud: LiveStack, server: str) -> list[str]:
    rows = cloud.call("GET", f"/compute/v2.1/os-migrations?instance_uuid={server}").json()["migrations"]
    return [row["status"] for row in rows]


def test_a_server_outlives_its_host_and_that_comes_back(cloud: LiveStack) -> None:
    phoenix, neighbour = brought(cloud, "phoenix", "node1"), brought(cloud, "neighbour", "node1")
    zombie, beside = guests(phoenix), guests(neighbour)
    stopped = stop_at_once(cloud, "node1")
    cloud.openstack("compute", "service", "set", "--down", "node1", "nova-compute")
    before = cloud.show(phoenix)
    assert before
    # Its --wait waits for a status in capitals among small letters, for ever.
    cloud.openstack("--os-compute-api-version", "2.94", "server", "evacuate", phoenix)
    there = cloud.await_status(phoenix, "ACTIVE")
    assert there[HOST] in ("node2", "node3")
    assert there["addresses"] == before["addresses"]
    await_console(cloud, phoenix, "boots=1")
    anew = set(guests(phoenix)) - set(zombie)
    assert len(anew) == 1
    # Its agent and its libvirtd are killed, and started again: the host is back, and still counts as dead.
    for process in stopped:
        process.kill()
    wait_until(
        lambda: set(guests(phoenix)) == anew, 60, "the zombie has ended, and the guest that was made anew has not"
    )
    assert guests(neighbour) == beside
    cloud.openstack("compute", "service", "set", "--up", "node1", "nova-compute")
    wait_until(lambda: statuses(cloud, phoenix) == ["completed"], 60, "nothing is left at the host that was dead")
    assert set(disks(cloud, phoenix)) == {place(cloud, phoenix)}
    act(cloud, neighbour, **{"os-stop": None})
    cloud.await_status(neighbour, "SHUTOFF")
    cloud.lightcurve("placement", "check")
    for server in (phoenix, neighbour):
        cloud.openstack("server", "delete", "--wait", server)


def emptied(cloud: LiveStack, *words: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(cloud.lightcurve("host", *words, "--json").stdout)
    return report


def test_a_host_is_drained(cloud: LiveStack) -> None:
    running, stopped = brought(cloud, "running", "node2"), brought(cloud, "stopped", "node2")
    act(cloud, stopped, **{"os-stop": None})
    cloud.await_status(stopped, "SHUTOFF")
    report = emptied(cloud, "drain", "node2")
    assert {moved["id"]: moved["how"] for moved in report["moved"]} == {running: "live", stopped: "cold"}
    assert report["left"] == []
    (service,) = cloud.call("GET", "/compute/v2.1/os-services?host=node2").json()["services"]
    assert (service["status"], service["disabled_reason"]) == ("disabled", "drained")
    assert (cloud.show(stopped) or {})["status"] == "SHUTOFF"
    assert "2 servers" not in cloud.lightcurve("host", "drain", "node2").stdout
    cloud.openstack("compute", "service", "set", "--enable", "node2", "nova-compute")
    cloud.delete_all()
    assert disks(cloud, running) == disks(cloud, stopped) == {}
    cloud.lightcurve("placement", "check")


@pytest.mark.long
def test_a_host_is_evacuated(cloud: LiveStack) -> None:
    running, host = brought(cloud, "running", "node2"), "node2"
    refused = cloud.lightcurve("host", "evacuate", host, check=False)
    assert "is alive" in refused.stderr
    report = emptied(cloud, "evacuate", host, "--although-alive")
    assert running in {moved["id"] for moved in report["moved"]}
    wait_until(lambda: len(guests(running)) == 1, 90, "what was made anew elsewhere has ended on the fenced host")
    cloud.openstack("compute", "service", "set", "--up", host, "nova-compute")
    wait_until(lambda: statuses(cloud, running)[0] == "completed", 60)
    cloud.delete_all()
    assert disks(cloud, running) == {}
    cloud.lightcurve("placement", "check")


@pytest.mark.long
def test_a_full_host_is_drained(cloud: LiveStack) -> None:
    """Two processors are overcommitted four times: it bears no more."""
    servers = [cloud.create(f"many-{number}", host="node1") for number in range(8)]
    for server in servers:
        cloud.await_status(server, "ACTIVE", seconds=300)
    report = emptied(cloud, "drain", "node1", "--at-once", "4")
    assert len(report["moved"]) == len(servers)
    print(f"{len(servers)} guests have left their host in {report['seconds']} s")
    assert all(place(cloud, server) != "node1" for server in servers)
    cloud.openstack("compute", "service", "set", "--enable", "node1", "nova-compute")
    cloud.delete_all()
    cloud.lightcurve("placement", "check")


@pytest.mark.long
def test_with_a_host_that_is_removed_go_its_claims(cloud: LiveStack) -> None:
    """The last one here: the host does not come back."""
    server = brought(cloud, "left", "node1")
    refused = cloud.lightcurve("host", "remove", "node1", check=False)
    assert refused.returncode == 1
    assert "lightcurve host drain node1" in refused.stderr
    emptied(cloud, "evacuate", "node1", "--although-alive")
    assert statuses(cloud, server) == ["done"]
    cloud.lightcurve("host", "remove", "node1")
    wait_until(lambda: statuses(cloud, server) == ["completed"], 60, "what is claimed for the remains is given back")
    cloud.lightcurve("placement", "check")
    cloud.delete_all()
