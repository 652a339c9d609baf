"""Several real hosts on one machine: apart from it and from each other, and gone without a trace."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest

from domain.errors import Invalid, Unavailable
from ops.embedded import handles as module
from ops.embedded.forwarder import LOOPBACK, forward
from ops.embedded.handles import Handles, inhabitants
from ops.embedded.host import EmbeddedHost
from ops.embedded.hosts import EmbeddedHosts
from tests.aio import asynchronous
from tests.own_hosts import OwnHost, OwnHosts
from tests.waiting import until, wait_until

Start = Callable[[int], list[OwnHost]]
NETWORK = Path("/sys/class/net")


@pytest.fixture
def handles(tmp_path: Path) -> Iterator[Handles]:
    found = Handles(tmp_path / "with a blank" / "handles")
    yield found
    found.close()


def mounts(directory: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]


@pytest.mark.libvirt
def test_a_namespace_stays_while_nobody_is_in_it(handles: Handles, tmp_path: Path) -> None:
    for _ in range(2):
        # What is open stays as it is.
        handles.open()
    assert len(mounts(tmp_path)) == 1
    assert handles.directory.parent.stat().st_mode & 0o777 == 0o711
    file = handles.fresh("a.uts")
    assert handles.held("a.uts") is None
    module.run("unshare", f"--uts={file}", "true")
    held = handles.held("a.uts")
    assert held is not None
    assert inhabitants("uts", held) == []
    handles.open()
    assert handles.held("a.uts") == held
    assert handles.names("uts") == ["a"]
    guest = subprocess.Popen(["nsenter", f"--uts={file}", "sleep", "60"])
    wait_until(lambda: inhabitants("uts", held) == [guest.pid], 10)
    module.end_inhabitants("uts", held)
    assert guest.wait(10) == -signal.SIGKILL
    handles.close()
    assert mounts(tmp_path) == []
    assert not handles.directory.exists()
    handles.close()


def test_what_the_system_refuses_is_said() -> None:
    with pytest.raises(Unavailable, match="no-such-program cannot be run: No such file"):
        module.run("no-such-program")
    with pytest.raises(Unavailable, match="ls: cannot access"):
        module.run("ls", "/no-such-directory")


def test_how_many_there_may_be(tmp_path: Path) -> None:
    hosts = EmbeddedHosts(tmp_path)
    for count in (0, 201):
        with pytest.raises(Invalid, match="from 1 to 200"):
            hosts.add(count)
    hosts.add(2)
    hosts.add(10)
    assert hosts.names == [f"node{number}" for number in range(1, 11)]
    with pytest.raises(Invalid, match="10 hosts already"):
        hosts.add(3)


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    (problem,) = EmbeddedHost("node1", tmp_path / ("a" * 100), Handles(tmp_path)).problems()
    assert "too long for a socket" in problem


@pytest.mark.libvirt
def test_hosts_are_apart(own_hosts: Start) -> None:
    outside = {path.name for path in NETWORK.iterdir()}
    first, second = own_hosts(2)
    assert {path.name for path in NETWORK.iterdir()} == outside
    assert first.run("hostname").strip() == "node1"
    assert first.run("ls", "/sys/class/net").split() == ["fabric0", "lo"]
    uuids = {libvirt.open(own.uri).getCapabilities().split("<uuid>")[1][:36] for own in (first, second)}
    assert len(uuids) == 2
    # By its name, over the network between them; and nowhere else does it listen.
    assert second.run("virsh", "-c", "qemu+tcp://node1/system", "hostname").strip() == "node1"
    listens = [line.split()[3] for line in first.run("ss", "-Hltn").splitlines()]
    assert listens == ["10.77.0.1:16509"]


@pytest.mark.libvirt
def test_what_runs_goes_on_when_hosts_are_looked_after_again(own_hosts: Start) -> None:
    (own,) = own_hosts(1)
    pid = own.libvirtd_pid()
    assert len(own_hosts(2)) == 2
    assert own.libvirtd_pid() == pid
    assert pid in own.host.inhabitants()


@pytest.mark.libvirt
def test_a_layout_that_was_interrupted_is_made_anew(own_hosts: Start) -> None:
    (own,) = own_hosts(1)
    own.kill_libvirtd()
    (own.host.directory / "namespaces").unlink()
    assert not own.host.is_made
    own_hosts(1)
    assert own.host.is_made
    assert own.run("hostname").strip() == "node1"
    assert own.host.inhabitants() == []


@pytest.mark.libvirt
def test_what_is_left_of_a_directory_that_somebody_removed() -> None:
    with OwnHosts() as hosts:
        (own,) = hosts.start(1)
        subprocess.run(["rm", "-rf", own.host.directory], check=True)
        hosts.embedded.ensure()
        assert all(process.wait(10) for _, process in own._running.values())


@pytest.mark.libvirt
def test_nothing_is_left() -> None:
    with OwnHosts() as hosts:
        kept = hosts.embedded._handles.directory
        (own,) = hosts.start(1)
        assert mounts(kept)
        own.run("sh", "-c", "ip netns add left; ip link add left0 type bridge")
        guest = subprocess.Popen(own.host.enter("sleep", "1000"))
    assert guest.wait(10) == -signal.SIGKILL
    assert not hosts.directory.exists()
    assert not kept.exists()
    assert mounts(kept) == mounts(hosts.directory) == []
    assert not Path("/run/netns/left").exists()
    assert own.host.inhabitants() == []


@pytest.mark.libvirt
def test_one_in_the_network_of_the_machine(own_libvirt: OwnHost) -> None:
    """Beside the machine's own libvirt, if it has one."""
    assert own_libvirt.virsh("list", "--all").strip() == ""
    assert set(own_libvirt.run("ls", "/sys/class/net").split()) == {path.name for path in NETWORK.iterdir()}
    own_libvirt.kill_libvirtd()
    assert not own_libvirt.host.answers()
    own_libvirt.restart_libvirtd()
    assert own_libvirt.host.answers()


ECHO = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as client:
    client.sendall(b"hello" * 100_000)
    client.shutdown(socket.SHUT_WR)
    with client.makefile("rb") as answer:
        print(len(answer.read()))
"""
"""Sends, says that it has done so, and counts what comes back."""


@pytest.mark.libvirt
@asynchronous
async def test_the_control_planes_ports_are_inside(own_hosts: Start) -> None:
    (own,) = own_hosts(1)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(-1))
        writer.close()

    server = await asyncio.start_server(echo, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    forwarding = asyncio.create_task(forward(own.host.network, [port]))

    async def ask() -> str:
        words = own.host.enter(sys.executable, "-c", ECHO, str(port))
        client = await asyncio.create_subprocess_exec(*words, stdout=-1, stderr=-1)
        said, _ = await client.communicate()
        return said.decode().strip()

    await until(lambda: f":{port}" in own.run("ss", "-Hltn"))
    assert await ask() == "500000"
    server.close()
    # As if nobody listened.
    assert await ask() in {"", "0"}
    forwarding.cancel()
    await asyncio.gather(forwarding, return_exceptions=True)
    assert f":{port}" not in own.run("ss", "-Hltn")
