"""Pause and suspend on real guests, by the unmodified client: what a guest had in memory it has afterwards."""

from contextlib import closing

import pytest
import websocket

from tests.e2e.guests import await_console, console_log, remote_console
from tests.e2e.live_stack import LiveStack


def says(stack: LiveStack, server: str, typed: str, expected: str) -> None:
    """Type into the guest's shell, until it has answered."""
    url = remote_console(stack, server, "serial")
    with closing(websocket.create_connection(url, timeout=20, subprotocols=["binary"])) as terminal:
        terminal.send_binary(f"\n{typed}\n".encode())
        shown = b""
        while expected.encode() not in shown:
            shown += terminal.recv()


@pytest.mark.parametrize(
    ("there", "status", "back"), [("pause", "PAUSED", "unpause"), ("suspend", "SUSPENDED", "resume")]
)
def test_a_guest_goes_on_where_it_was(stack: LiveStack, there: str, status: str, back: str) -> None:
    server = stack.create("sleeper")
    try:
        stack.await_status(server, "ACTIVE")
        await_console(stack, server, ":/# ")
        says(stack, server, "X=41; echo $((X + 0))-is-kept", "41-is-kept")
        stack.openstack("server", there, server)
        stack.await_status(server, status)
        stack.openstack("server", back, server)
        stack.await_status(server, "ACTIVE")
        says(stack, server, "echo $((X + 1))-came-back", "42-came-back")
        assert console_log(stack, server).count("BOOT-COMPLETE") == 1
    finally:
        stack.delete_all()


def test_a_suspended_guest_can_be_booted_afresh(stack: LiveStack) -> None:
    server = stack.create("sleeper")
    try:
        stack.await_status(server, "ACTIVE")
        await_console(stack, server, "boots=1")
        stack.openstack("server", "suspend", server)
        stack.await_status(server, "SUSPENDED")
        stack.openstack("server", "reboot", "--hard", "--wait", server)
        await_console(stack, server, "boots=2")
    finally:
        stack.delete_all()
