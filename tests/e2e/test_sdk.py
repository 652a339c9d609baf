"""openstacksdk, as a program uses it."""

import warnings
from typing import Any

import pytest

from tests.e2e.live_stack import LiveStack


@pytest.fixture
def cloud(stack: LiveStack, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(stack.directory / "clouds.yaml"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import openstack

        yield openstack.connect(cloud="lightcurve-demo")


@pytest.mark.filterwarnings("ignore")
def test_a_server(cloud: Any, stack: LiveStack) -> None:
    server = cloud.create_server("sdk", image="tiny", flavor="m1.nano", network="private", wait=True, timeout=90)
    assert server.status == "ACTIVE"
    assert [found.name for found in cloud.compute.servers()] == ["sdk"]
    assert [action.action for action in cloud.compute.server_actions(server)] == ["create"]
    assert cloud.delete_server("sdk", wait=True, timeout=90)
    assert cloud.get_server("sdk") is None
