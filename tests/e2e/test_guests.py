"""What a guest is given at its first boot, and its screen in a real browser: all on real guests."""

import base64
import subprocess
import time
from pathlib import Path

import pytest

from tests.browser import Browser
from tests.e2e.guests import (
    assert_refused,
    await_console,
    await_end,
    console_log,
    make_key,
    remote_console,
    story,
    terminal,
)
from tests.e2e.live_stack import LiveStack, wait_until

SCRIPT = "#!/bin/sh\necho user-data-ran-on-$(hostname) > /dev/console\n"
SERVERS = "/compute/v2.1/servers"


def given(stack: LiveStack, tmp_path: Path) -> dict[str, object]:
    """A key, and a script that says so when it runs."""
    public = make_key(tmp_path).with_suffix(".pub").read_text().strip()
    stack.call("POST", "/compute/v2.1/os-keypairs", {"keypair": {"name": "boot", "public_key": public}})
    return {"key_name": "boot", "user_data": base64.b64encode(SCRIPT.encode()).decode()}


def forget_key(stack: LiveStack) -> None:
    stack.call("DELETE", "/compute/v2.1/os-keypairs/boot")


def test_first_boot_by_the_metadata_service(stack: LiveStack, tmp_path: Path) -> None:
    try:
        server = stack.create("First Boot", **given(stack, tmp_path))
        stack.await_status(server, "ACTIVE")
        printed = await_console(stack, server, "user-data-ran-on-first-boot")
        assert "tiny: authorized key ssh-ed25519" in printed
        assert "hostname=first-boot" in await_console(stack, server, "BOOT-COMPLETE")
        assert SCRIPT not in story(stack, server)
    finally:
        stack.delete_all()
        forget_key(stack)


@pytest.mark.parametrize("victim", ["metadata", "compute"])
def test_metadata_after_a_process_was_killed(stack: LiveStack, tmp_path: Path, victim: str) -> None:
    try:
        server = stack.create("survivor", **given(stack, tmp_path))
        stack.await_status(server, "ACTIVE")
        await_console(stack, server, "user-data-ran-on-survivor")
        stack.kill(victim)
        before = console_log(stack, server).count("user-data-ran-on-survivor")
        wait_until(lambda: _reboots(stack, server), 60, "the host takes commands again")
        stack.await_status(server, "ACTIVE")
        wait_until(
            lambda: console_log(stack, server).count("user-data-ran-on-survivor") > before, 90, "it is told again"
        )
    finally:
        stack.delete_all()
        forget_key(stack)


def _reboots(stack: LiveStack, server: str) -> bool:
    return stack.call("POST", f"{SERVERS}/{server}/action", {"reboot": {"type": "HARD"}}).status == 202


def test_first_boot_by_a_config_drive_without_any_network(stack: LiveStack, tmp_path: Path) -> None:
    try:
        server = stack.create("driven", networks="none", config_drive=True, **given(stack, tmp_path))
        shown = stack.await_status(server, "ACTIVE")
        printed = await_console(stack, server, "user-data-ran-on-driven")
        assert "tiny: authorized key ssh-ed25519" in printed
        command = ["virsh", "-c", "qemu:///system", "dumpxml", shown["OS-EXT-SRV-ATTR:instance_name"]]
        assert "config-drive.img" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
        drive = stack.directory / "compute" / "instances" / server / "config-drive.img"
        assert drive.stat().st_mode & 0o077 == 0
    finally:
        stack.delete_all()
        forget_key(stack)


def test_the_screen_in_a_browser(stack: LiveStack, tmp_path: Path) -> None:
    """What ``openstack console url show`` prints, opened in Chromium: it shows, and it takes keys."""
    server = stack.create("screen")
    try:
        stack.await_status(server, "ACTIVE")
        await_console(stack, server, "BOOT-COMPLETE")
        url = remote_console(stack, server, "novnc")
        with Browser(tmp_path) as browser:
            browser.open(url)
            browser.wait_for(lambda: browser.text("status").startswith("Connected to QEMU"))
            browser.use_shell(tmp_path / "screen.png")
            wait_until(lambda: _is_off(stack, server), 60, "the guest did what was typed")
        wait_until(lambda: "console.closed" in story(stack, server), 10, "the end of the session is recorded")
        told = story(stack, server)
        assert "console.granted" in told
        assert "console.opened" in told
        assert url.rpartition("%3D")[2] not in told
    finally:
        stack.delete_all()


def _is_off(stack: LiveStack, server: str) -> bool:
    shown = stack.show(server)
    return shown is not None and shown["status"] == "SHUTOFF"


def test_the_serial_console_and_its_end(stack: LiveStack) -> None:
    """A terminal over a WebSocket; the server's deletion cuts it within a second."""
    server = stack.create("serial")
    try:
        stack.await_status(server, "ACTIVE")
        await_console(stack, server, "BOOT-COMPLETE")
        url = remote_console(stack, server, "serial")
        assert url.startswith("ws://")
        with terminal(url) as viewer:
            viewer.send_binary(b"\necho $((6 * 7))-answers\n")
            shown = b""
            while b"42-answers" not in shown:
                shown += viewer.recv()
            with terminal(url):
                pass
            viewer.settimeout(10)
            deleted = time.monotonic()
            assert stack.call("DELETE", f"{SERVERS}/{server}").status == 204
            await_end(viewer)
            assert time.monotonic() - deleted < 1.0
        assert_refused(url)
        assert "console.server_gone" in story(stack, server)
    finally:
        stack.delete_all()


def test_the_operator_revokes_a_servers_consoles(stack: LiveStack) -> None:
    server = stack.create("revoked")
    try:
        stack.await_status(server, "ACTIVE")
        urls = [remote_console(stack, server, kind) for kind in ("serial", "novnc")]
        wait_until(lambda: story(stack, server).count(" console.granted, ") == 2, 10, "both grants are indexed")
        with terminal(urls[0]) as viewer:
            assert "2 console tokens are revoked" in stack.lightcurve("revoke-consoles", "revoked").stdout
            await_end(viewer)
        assert_refused(urls[0])
        assert "0 console tokens are revoked" in stack.lightcurve("revoke-consoles", server).stdout
    finally:
        stack.delete_all()


def test_where_a_token_leads(stack: LiveStack) -> None:
    server = stack.create("token")
    try:
        stack.await_status(server, "ACTIVE")
        token = remote_console(stack, server, "novnc").rpartition("%3D")[2]
        found = stack.call("GET", f"/compute/v2.1/os-console-auth-tokens/{token}").json()["console"]
        assert found["instance_uuid"] == server
        assert found["port"]
        assert found["internal_access_path"]
        assert stack.call("GET", "/compute/v2.1/os-console-auth-tokens/forged").status == 404
    finally:
        stack.delete_all()
