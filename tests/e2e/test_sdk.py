"""openstacksdk, as a program uses it."""

import os
import subprocess
import sys

from tests.e2e.live_stack import LiveStack

PROGRAM = """
import openstack

cloud = openstack.connect(cloud="lightcurve-demo")
server = cloud.create_server("sdk", image="tiny", flavor="m1.nano", network="private", wait=True, timeout=90)
assert server.status == "ACTIVE", server
assert [found.name for found in cloud.compute.servers()] == ["sdk"]
assert [action.action for action in cloud.compute.server_actions(server)] == ["create"]
assert cloud.delete_server("sdk", wait=True, timeout=90)
assert cloud.get_server("sdk") is None
"""


def test_a_server(stack: LiveStack) -> None:
    environment = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(stack.directory / "clouds.yaml")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
