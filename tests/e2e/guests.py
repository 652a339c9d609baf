"""What end-to-end tests of guests share."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket

from adapters.libvirt.network import Names
from tests.e2e.live_stack import LiveStack, wait_until

BOOT_SECONDS = 90


def console_log(stack: LiveStack, server: str) -> str:
    answer = stack.call("POST", f"/compute/v2.1/servers/{server}/action", {"os-getConsoleOutput": {}})
    return str(answer.json()["output"]) if answer.status == 200 else ""


def await_console(stack: LiveStack, server: str, text: str, seconds: float = BOOT_SECONDS) -> str:
    """Wait until the guest has printed ``text``; returns all that it printed."""
    wait_until(lambda: text in console_log(stack, server), seconds, f"the guest prints {text!r}")
    return console_log(stack, server)


def make_key(directory: Path) -> Path:
    """An SSH key; its public half is beside it."""
    key = directory / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", key], check=True)
    return key


def namespace_of(stack: LiveStack, server: str) -> str:
    """Where the server's network can be reached on this host."""
    ports = stack.call("GET", f"/compute/v2.1/servers/{server}/os-interface").json()["interfaceAttachments"]
    return Names.of(str(stack.directory / "compute"), ports[0]["net_id"]).namespace


def in_namespace(namespace: str, *words: str, check: bool = True) -> str:
    """Run a program in a tenant's network."""
    command = ["ip", "netns", "exec", namespace, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def story(stack: LiveStack, server: str) -> str:
    """Everything that the log says of the server, with the events' bodies."""
    done = stack.lightcurve("log", server, "--bodies", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def remote_console(stack: LiveStack, server: str, kind: str) -> str:
    """The URL that the unmodified client prints."""
    shown: dict[str, Any] = json.loads(stack.openstack("console", "url", "show", f"--{kind}", server, "-f", "json"))
    return str(shown["url"])


@contextmanager
def terminal(url: str) -> Iterator[Any]:
    """A WebSocket to a console."""
    viewer = websocket.WebSocket()
    try:
        viewer.connect(url, timeout=20, subprotocols=["binary"])
        yield viewer
        viewer.close()
    finally:
        # Its close() leaves the socket open where the other end has closed first.
        viewer.shutdown()


def assert_refused(url: str) -> None:
    """The console is shown to nobody any more."""
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"), terminal(url):
        pass


def await_end(viewer: Any) -> None:
    """Wait until the proxy closes the console."""
    while viewer.recv_data()[0] != websocket.ABNF.OPCODE_CLOSE:
        pass


def say(viewer: object, command: str, awaited: str) -> None:
    """Type a command at a guest's serial console, until it answers so."""
    heard = b""
    viewer.send_binary(f"{command}\n".encode())  # type: ignore[attr-defined]
    while awaited.encode() not in heard:
        heard += viewer.recv()  # type: ignore[attr-defined]
