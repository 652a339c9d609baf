"""An administrator resets a server's state with the unmodified client; its host tells what the guest really is."""

from tests.e2e.live_stack import LiveStack


def test_a_state_is_reset(stack: LiveStack) -> None:
    server = stack.create("reset")
    try:
        stack.await_status(server, "ACTIVE")
        stack.openstack("server", "set", "--auto-approve", "--state", "error", server)
        stack.await_status(server, "ERROR")
        stack.openstack("server", "set", "--auto-approve", "--state", "active", server)
        stack.await_status(server, "ACTIVE")
        stack.openstack("server", "stop", server)
        stack.await_status(server, "SHUTOFF")
    finally:
        stack.delete_all()
