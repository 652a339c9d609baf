"""What ends console sessions from outside: a lost right, a proxy that is killed or stopped. Each end is recorded."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import websocket

from domain.console import PROXY_LOST, PROXY_STOPPED
from handlers.fleet.liveness import BEAT_SECONDS, DOWN_AFTER
from ops.settings import load
from tests.e2e.guests import assert_refused, await_end, terminal
from tests.e2e.live_stack import LiveStack, wait_until

SERVERS = "/compute/v2.1/servers"
LOST_SECONDS = DOWN_AFTER.total_seconds() + 3 * BEAT_SECONDS
"""After so long a silence of the proxy its sessions are closed."""


@pytest.fixture
def server(stack: LiveStack) -> Iterator[str]:
    """A server of the project demo."""
    member = stack.token("demo", "demo")
    made = stack.create("watched", token=member)
    try:
        stack.await_status(made, "ACTIVE")
        yield made
    finally:
        stack.delete_all()


def terminal_of(stack: LiveStack, server: str) -> str:
    """The URL of a terminal for the user demo."""
    wanted = {"remote_console": {"protocol": "serial", "type": "serial"}}
    path = f"{SERVERS}/{server}/remote-consoles"
    answer = stack.call("POST", path, wanted, token=stack.token("demo", "demo"))
    assert answer.status == 200, answer
    return str(answer.json()["remote_console"]["url"])


def ends(stack: LiveStack, server: str) -> list[dict[str, Any]]:
    """The ends of the server's console sessions, as ``lightcurve log`` tells them."""
    printed = stack.lightcurve("log", server, "--type", "console.closed", "--bodies").stdout.splitlines()
    return [json.loads(line) for line in printed if line.startswith("    {")]


@contextmanager
def changed(stack: LiveStack, before: str, after: str) -> Iterator[float]:
    """The configuration file, meanwhile another; gives the time of the change."""
    known = stack.config_file.read_text()
    assert known.count(before) == 1
    try:
        stack.config_file.write_text(known.replace(before, after))
        yield time.monotonic()
    finally:
        stack.config_file.write_text(known)


def test_a_user_who_is_disabled_is_thrown_out_everywhere(stack: LiveStack, server: str) -> None:
    token, url = stack.token("demo", "demo"), terminal_of(stack, server)
    assert stack.call("GET", f"{SERVERS}/{server}", token=token).status == 200
    assert usages(stack, token) != 401
    with terminal(url) as session:
        session.settimeout(10)
        with changed(stack, 'name = "demo"', 'name = "demo"\nenabled = false') as at:
            await_end(session)
            cut_after = time.monotonic() - at
            wait_until(
                lambda: stack.call("GET", f"{SERVERS}/{server}", token=token).status == 401, 5, "the API knows"
            )
            wait_until(lambda: usages(stack, token) == 401, 5, "Placement knows")
            known_after = time.monotonic() - at
            assert_refused(url)
            (end,) = wait_until(lambda: ends(stack, server), 5, "the end is indexed")
            assert end["reason"] == "console.not_entitled"
    print(f"cut after {cut_after:.2f} s, tokens void after {known_after:.2f} s")
    assert cut_after < 1.0
    assert known_after < 1.5, "the session is cut first, then two faces are asked"
    stack.forget_tokens()
    wait_until(lambda: logs_in(stack), 5, "the right is back")
    assert stack.call("GET", f"{SERVERS}/{server}", token=token).status == 401, "tokens of before are not"
    wait_until(lambda: opens(url), 5, "the proxy knows")


def test_logging_out_ends_the_token_everywhere_and_no_console(stack: LiveStack, server: str) -> None:
    token, url = stack.token("demo", "demo"), terminal_of(stack, server)
    with terminal(url) as session:
        try:
            path = "/identity/v3/auth/tokens"
            assert stack.call("DELETE", path, token=token, X_Subject_Token=token).status == 204
            at = time.monotonic()
            wait_until(lambda: usages(stack, token) == 401, 5, "Placement knows")
            assert time.monotonic() - at < 1.0
            stack.kill("api-1")
            status = wait_until(lambda: answered(stack, token), 60, "the API answers again")
            assert status == 401, "a restarted API knows, too"
        finally:
            stack.forget_tokens()
        session.send_binary(b"\n")
        session.settimeout(10)
        assert session.recv()
    assert "token.revoked" in stack.lightcurve("log", "--type", "token.").stdout


def logs_in(stack: LiveStack) -> bool:
    """Whether the user demo gets a token."""
    try:
        return bool(stack.token("demo", "demo"))
    except AssertionError:
        return False


def answered(stack: LiveStack, token: str) -> int | None:
    """The status with which the API answers the user; None: it does not."""
    try:
        return stack.call("GET", SERVERS, token=token).status
    except OSError:
        return None


def usages(stack: LiveStack, token: str) -> int:
    """The status with which Placement answers the user."""
    base = load(stack.config_file).placement.public_url
    request = urllib.request.Request(f"{base}/usages?project_id=x", headers={"X-Auth-Token": token})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_session_of_a_proxy_that_was_killed_is_closed(stack: LiveStack, server: str) -> None:
    url = terminal_of(stack, server)
    with terminal(url) as session:
        session.send_binary(b"\n")
        wait_until(lambda: server in stack.lightcurve("consoles").stdout, 10, "the session is listed")
        shown = next(line for line in stack.lightcurve("consoles").stdout.splitlines() if server in line).split()
        assert shown[1:6] == ["watched", "serial", "demo", "demo", "127.0.0.1"]
        opened = time.monotonic()
        stack.kill("console")
        killed = time.monotonic()
    (end,) = wait_until(lambda: ends(stack, server), LOST_SECONDS, "the conductor closes the session")
    print(f"closed {time.monotonic() - killed:.1f} s after the kill")
    assert end["reason"] == PROXY_LOST
    assert end["seconds"] < killed - opened + 10
    wait_until(lambda: server not in stack.lightcurve("consoles").stdout, 10, "it is listed no more")
    assert PROXY_LOST in stack.lightcurve("consoles", "--all").stdout
    wait_until(lambda: opens(url), 30, "another proxy takes the token")


def opens(url: str) -> bool:
    """Whether the console is shown."""
    try:
        with terminal(url):
            return True
    except (OSError, websocket.WebSocketException):
        return False


def test_a_proxy_that_is_stopped_records_the_ends_itself(stack: LiveStack, server: str) -> None:
    url = terminal_of(stack, server)
    with terminal(url) as session:
        session.settimeout(10)
        before = stack.pid("console")
        os.kill(before, signal.SIGTERM)
        await_end(session)
    (end,) = wait_until(lambda: ends(stack, server), 5, "the proxy records the end")
    assert end["reason"] == PROXY_STOPPED
    wait_until(lambda: stack.pid("console") != before and opens(url), 30, "the supervisor starts it again")
