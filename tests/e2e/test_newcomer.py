"""What a newcomer does, with the unmodified client."""

import subprocess

from tests.e2e.live_stack import LiveStack, wait_until


def test_a_server_from_first_to_last(stack: LiveStack) -> None:
    stack.openstack("server", "create", "--image", "tiny", "--flavor", "m1.nano", "--network", "private",
                    "--wait", "web1")  # fmt: skip
    assert [server["Name"] for server in stack.openstack_json("server", "list")] == ["web1"]
    shown = stack.openstack_json("server", "show", "web1")
    assert shown["status"] == "ACTIVE"
    domain = shown["OS-EXT-SRV-ATTR:instance_name"]
    address = shown["addresses"]["private"][0]

    xml = _virsh("dumpxml", domain)
    assert shown["id"] in xml
    assert f'instance server="{shown["id"]}" epoch="1"' in xml.replace("'", '"')
    wait_until(
        lambda: f"addresses=eth0={address}" in stack.openstack("console", "log", "show", "web1"),
        90,
        "the guest has its address",
    )

    stack.openstack("server", "reboot", "--hard", "--wait", "web1")
    stack.openstack("server", "stop", "web1")
    stack.await_status(shown["id"], "SHUTOFF")
    assert _virsh("domstate", domain).strip() == "shut off"
    stack.openstack("server", "start", "web1")
    stack.await_status(shown["id"], "ACTIVE")

    actions = {
        action["Action"]: action["Request ID"] for action in stack.openstack_json("server", "event", "list", "web1")
    }
    assert set(actions) == {"create", "reboot", "stop", "start"}
    event = stack.openstack("server", "event", "show", "web1", actions["create"])
    assert "compute__do_build_and_run_instance" in event

    stack.openstack("server", "delete", "--wait", "web1")
    assert domain not in _virsh("list", "--all", "--name").split()
    story = stack.lightcurve("log", "web1").stdout
    for happened in ("server.requested", "ledger.changed/claimed", "network.ports_changed/port_created",
                     "server.placed", "server.built", "server.rebooted", "server.stopped", "server.started",
                     "server.delete_requested", "ledger.changed/released", "server.deleted"):  # fmt: skip
        assert happened in story, story
    assert actions["create"] in story


def test_the_lists(stack: LiveStack) -> None:
    assert "m1.tiny" in stack.openstack("flavor", "list")
    assert "active" in stack.openstack("image", "list")
    assert "private" in stack.openstack("network", "list")
    assert "nova-compute" in stack.openstack("compute", "service", "list")
    hypervisors = stack.openstack_json("hypervisor", "list")
    assert len(hypervisors) == 1
    stack.openstack("hypervisor", "show", hypervisors[0]["Hypervisor Hostname"])
    stack.openstack("keypair", "create", "k1")
    assert "k1" in stack.openstack("keypair", "list")
    stack.openstack("keypair", "delete", "k1")


def test_status_shows_everything(stack: LiveStack) -> None:
    status = stack.lightcurve("status").stdout
    for program in stack.programs():
        assert program in status
    assert "up" in status
    assert "instance_actions" in status


def test_a_guest_that_powers_itself_off_shows_shutoff(stack: LiveStack) -> None:
    server_id = stack.create("self-off")
    domain = stack.await_status(server_id, "ACTIVE")["OS-EXT-SRV-ATTR:instance_name"]
    _virsh("shutdown", domain, "--mode", "acpi")
    wait_until(lambda: "BOOT-COMPLETE" in stack.openstack("console", "log", "show", server_id), 90, "it has booted")
    _virsh("shutdown", domain, "--mode", "acpi")
    stack.await_status(server_id, "SHUTOFF")
    _virsh("start", domain)
    stack.await_status(server_id, "ACTIVE")
    stack.delete_all()


def test_a_projection_is_built_anew_while_it_answers(stack: LiveStack) -> None:
    server_id = stack.create("kept")
    stack.await_status(server_id, "ACTIVE")
    for projection in ("servers", "instance_actions", "hosts", "event_log"):
        assert "done" in stack.lightcurve("rebuild", projection).stdout
    assert stack.show(server_id)
    assert "server.built" in stack.lightcurve("log", "kept").stdout
    stack.delete_all()


def test_a_second_up_is_harmless(stack: LiveStack) -> None:
    before = [stack.pid(program) for program in stack.programs()]
    stack.up()
    assert [stack.pid(program) for program in stack.programs()] == before


def _virsh(*arguments: str) -> str:
    command = ["virsh", "-c", "qemu:///system", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
