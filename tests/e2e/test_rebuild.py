"""Rebuild and rescue on real guests, by the unmodified client."""

import re
import subprocess
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import websocket

from tests.e2e.guests import await_console, console_log, remote_console, story
from tests.e2e.live_stack import LiveStack, wait_until

SCRIPT = "#!/bin/sh\necho told-{} > /dev/console\n"
REFCOUNT_TABLE_OFFSET = 48
"""Where it is in the header of a qcow2 file: https://www.qemu.org/docs/master/interop/qcow2.html."""
BOOTS = re.compile(r"BOOT-COMPLETE hostname=(\S+) .*boots=(\d+)")


def boots(stack: LiveStack, server: str) -> list[tuple[str, int]]:
    """Every boot that the guest has told of: its name, and how often its disk was booted then."""
    return [(name, int(count)) for name, count in BOOTS.findall(console_log(stack, server))]


def await_boot(stack: LiveStack, server: str, number: int) -> tuple[str, int]:
    wait_until(lambda: len(boots(stack, server)) >= number, 90, f"boot {number} comes to its end")
    return boots(stack, server)[number - 1]


def disks(server: str) -> dict[str, str]:
    """The names of the files behind the domain's disks, by device."""
    command = ["virsh", "-c", "qemu:///system", "dumpxml", f"instance-{server}"]
    domain = ET.fromstring(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found = {}
    for disk in domain.iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        assert source is not None
        assert target is not None
        found[target.attrib["dev"]] = Path(source.attrib["file"]).name
    return found


def user_data(directory: Path, word: str) -> str:
    path = directory / f"{word}.sh"
    path.write_text(SCRIPT.format(word))
    return str(path)


def test_a_rebuild(stack: LiveStack, tmp_path: Path) -> None:
    """A fresh disk, the same address, a config drive that tells what is new; and no old viewer sees it."""
    try:
        options = ("--image", "tiny", "--flavor", "m1.nano", "--config-drive", "true", "--wait")
        told = ("--user-data", user_data(tmp_path, "first"))
        server = stack.openstack_json("server", "create", *options, *told, "before")["id"]
        assert await_boot(stack, server, 1) == ("before", 1)
        assert "told-first" in console_log(stack, server)
        stack.openstack("server", "reboot", "--hard", "--wait", server)
        assert await_boot(stack, server, 2) == ("before", 2)
        addresses = stack.await_status(server, "ACTIVE")["addresses"]
        url = remote_console(stack, server, "serial")
        with closing(websocket.create_connection(url, timeout=20, subprotocols=["binary"])) as terminal:
            told = ("--user-data", user_data(tmp_path, "second"), "--name", "after", "--wait")
            stack.openstack("server", "rebuild", "--image", "tiny", *told, server)
            while terminal.recv_data()[0] != websocket.ABNF.OPCODE_CLOSE:
                pass
        with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
            websocket.create_connection(url, timeout=20, subprotocols=["binary"])
        # Its host name was decided when it was asked for.
        assert await_boot(stack, server, 3) == ("before", 1)
        assert "told-second" in await_console(stack, server, "told-second")
        shown = stack.await_status(server, "ACTIVE")
        assert (shown["addresses"], shown["config_drive"]) == (addresses, "True")
        assert disks(server) == {"vda": "disk.qcow2", "sda": "config-drive.img"}
        assert "console.server_rebuilt" in story(stack, server)
    finally:
        stack.delete_all()


def test_a_rescue(stack: LiveStack, tmp_path: Path) -> None:
    """The rescue system starts from a fresh disk, with the server's own beside it, and knows its password."""
    try:
        options = ("--image", "tiny", "--flavor", "m1.nano", "--config-drive", "true", "--wait")
        told = ("--user-data", user_data(tmp_path, "the-guest"))
        server = stack.openstack_json("server", "create", *options, *told, "patient")["id"]
        await_boot(stack, server, 1)
        directory = stack.directory / "compute" / "instances" / server

        stack.openstack("server", "rescue", "--image", "tiny", "--password", "rescue-me", server)
        stack.await_status(server, "RESCUE")
        assert await_boot(stack, server, 2) == ("patient", 1)
        assert disks(server) == {"vda": "rescue.qcow2", "vdb": "disk.qcow2", "sda": "config-drive.rescue.img"}
        wait_until(lambda: console_log(stack, server).count("told-the-guest") == 2, 60, "the rescue system is told")
        read = (
            "isoinfo",
            "-R",
            "-i",
            directory / "config-drive.rescue.img",
            "-x",
            "/openstack/latest/meta_data.json",
        )
        meta_data = subprocess.run(read, capture_output=True, text=True, check=True).stdout
        assert '"admin_pass":"rescue-me"' in meta_data

        stack.openstack("server", "unrescue", server)
        stack.await_status(server, "ACTIVE")
        assert await_boot(stack, server, 3) == ("patient", 2)
        assert disks(server) == {"vda": "disk.qcow2", "sda": "config-drive.img"}
        assert not list(directory.glob("*rescue*"))
        assert "rescue-me" not in story(stack, server)
    finally:
        stack.delete_all()


@pytest.mark.long
def test_a_rebuild_that_cannot_be_leaves_the_server_repairable(stack: LiveStack, tmp_path: Path) -> None:
    """An image that only QEMU finds out to be broken: ERROR with its reason, the old disk still there."""
    try:
        server = stack.create("victim")
        stack.await_status(server, "ACTIVE")
        await_boot(stack, server, 1)
        rubbish = tmp_path / "rubbish.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", rubbish, "16M"], check=True)
        with rubbish.open("r+b") as file:
            file.seek(REFCOUNT_TABLE_OFFSET)
            file.write(b"\xff" * 8)
        stack.openstack("image", "create", "--disk-format", "qcow2", "--file", str(rubbish), "rubbish")
        stack.openstack("server", "rebuild", "--image", "rubbish", server)
        shown = stack.await_status(server, "ERROR")
        assert "is not a valid qcow2 image" in shown["fault"]["message"]
        stack.openstack("server", "reboot", "--hard", server)
        stack.await_status(server, "ACTIVE")
        assert await_boot(stack, server, 2)[1] == 2
        stack.openstack("server", "rebuild", "--image", "tiny", "--wait", server)
        assert await_boot(stack, server, 3)[1] == 1
    finally:
        stack.delete_all()
        stack.openstack("image", "delete", "rubbish", check=False)
