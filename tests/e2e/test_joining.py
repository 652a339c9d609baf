"""A second host joins a running cloud by its token, builds a guest with what only it may have, and is sent away."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.guests import await_console
from tests.e2e.live_stack import LiveStack, wait_until

pytestmark = pytest.mark.libvirt

HOST = "node2.example.org"
SECONDS = 60


@contextmanager
def agent(stack: LiveStack, state_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The host's agent, on this machine, with a state directory of its own."""
    command = [sys.executable, "-m", "ops.cli", "run", "compute", "--config", str(state_dir / "lightcurve.toml")]
    with (state_dir / "agent.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=stack.environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(SECONDS)


def listed(stack: LiveStack) -> dict[str, list[str]]:
    """What is said of each host."""
    lines = stack.lightcurve("host", "list").stdout.splitlines()
    return {words[0]: words[1:] for line in lines[2:] if (words := line.split())}


def test_a_host_joins_and_is_sent_away(tmp_path: Path) -> None:
    stack, of_host = LiveStack(tmp_path / "stack"), tmp_path / "host"
    try:
        stack.up()
        token = stack.lightcurve("host", "add", HOST).stdout
        assert "has a credential already" in stack.lightcurve("host", "add", HOST, check=False).stderr
        command = [sys.executable, "-m", "ops.cli", "--state-dir", str(of_host), "host", "join"]
        subprocess.run(command, input=token, text=True, check=True, capture_output=True)
        with agent(stack, of_host) as process:
            wait_until(lambda: "never" not in listed(stack)[HOST], SECONDS, "the host is enrolled")
            wanted = ("--image", "tiny", "--flavor", "m1.tiny", "--network", "private", "--config-drive", "true")
            stack.openstack("--os-compute-api-version", "2.74", "server", "create", *wanted, "--host", HOST,
                            "--wait", "guest")  # fmt: skip
            server = stack.openstack_json("server", "show", "guest")["id"]
            await_console(stack, server, "guest:")
            assert (of_host / "compute" / "instances" / server / "config-drive.img").exists()
            assert "is fetched by host " + HOST in (stack.directory / "log" / "api-1.log").read_text()
            stack.openstack("server", "delete", "--wait", "guest")
            stack.lightcurve("host", "remove", HOST)
            said = of_host / "agent.log"
            wait_until(lambda: "Authorization Violation" in said.read_text(), SECONDS, "the agent is shut out")
            assert process.poll() is None
        assert listed(stack)[HOST][0] == "none"
        assert "could not be found" in stack.lightcurve("host", "remove", HOST, check=False).stderr
    finally:
        stack.down()
