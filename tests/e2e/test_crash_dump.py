"""A crash dump is triggered on a real guest by the unmodified client: its kernel notes the NMI."""

from tests.e2e.guests import await_console
from tests.e2e.live_stack import LiveStack


def test_a_guest_is_interrupted(stack: LiveStack) -> None:
    server = stack.create("crasher")
    try:
        stack.await_status(server, "ACTIVE")
        await_console(stack, server, ":/# ")
        stack.openstack("--os-compute-api-version", "2.17", "server", "dump", "create", server)
        await_console(stack, server, "NMI")
        stack.await_status(server, "ACTIVE")
    finally:
        stack.delete_all()
