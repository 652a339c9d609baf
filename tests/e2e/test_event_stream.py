"""Others follow the events of a real stack: by a stream, of which nothing is lost and nothing twice though the API is
killed meanwhile; and by the messages of NATS, with an account."""

import asyncio
import http.client
import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from adapters.nats.connection import Credentials, connect
from adapters.nats.following import PASSWORD, URL, USER
from domain.errors import Unavailable
from ops.examples import cloud_events
from tests.e2e.live_stack import LiveStack
from tests.waiting import wait_until

EVENTS = "/audit/events"


class Follower(threading.Thread):
    """Reads events, and goes on behind the last one whenever the stream breaks off."""

    def __init__(self, stack: LiveStack) -> None:
        super().__init__(daemon=True)
        self._port = int(stack.ports[3])
        self._token = stack.token()
        self._last: str | None = None
        self._done = False
        self.told: list[tuple[str, int]] = []
        self.begun = 0

    def run(self) -> None:
        while not self._done:
            try:
                self._read()
            except (OSError, http.client.HTTPException):
                continue

    def _read(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {"Accept": "text/event-stream", "X-Auth-Token": self._token}
        connection.request("GET", EVENTS, headers=headers | ({"Last-Event-ID": self._last} if self._last else {}))
        with connection.getresponse() as answer:
            assert answer.status == 200, answer.read()
            self.begun += 1
            identity = ""
            while not self._done and (line := answer.readline().decode()):
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "id":
                    identity = value
                elif not name and identity:
                    self._last = identity
                elif name == "data":
                    event = json.loads(value)
                    self.told.append((event["source"], event["position"]))

    def has(self, end: tuple[str, int]) -> None:
        wait_until(lambda: end in self.told, 30, f"the stream told of {end}")

    def end(self) -> None:
        """With the next that it reads."""
        self._done = True


def _answers(stack: LiveStack) -> bool:
    try:
        return stack.call("GET", "/compute/v2.1/flavors").status == 200
    except OSError:
        return False


def _end(stack: LiveStack) -> tuple[str, int]:
    places = _places(stack)
    return max(place for place in places if place[0] == "/cells/cell1")


def _places(stack: LiveStack) -> list[tuple[str, int]]:
    events: list[dict[str, Any]] = stack.call("GET", f"{EVENTS}?limit=1000").json()
    return [(event["source"], event["position"]) for event in events]


def test_the_api_is_killed_while_somebody_listens(simulated: LiveStack) -> None:
    stack, follower = simulated, Follower(simulated)
    follower.start()
    stack.await_status(stack.create("first"), "ACTIVE")
    follower.has(_end(stack))
    for program in stack.programs():
        if program.startswith("api-"):
            stack.kill(program)
    wait_until(lambda: _answers(stack), 30, "the API answers")
    stack.await_status(stack.create("second"), "ACTIVE")
    stack.delete_all()
    follower.has(_end(stack))
    follower.end()
    assert follower.begun >= 2
    assert len(follower.told) == len(set(follower.told))
    assert [place for place in _places(stack) if place <= _end(stack)] == sorted(follower.told)


def test_a_program_follows_with_an_account_of_its_own(simulated: LiveStack) -> None:
    simulated.await_status(simulated.create("first"), "ACTIVE")
    told = simulated.lightcurve("log", "account", "usage").stdout
    environment = os.environ | dict(line.split("=", 1) for line in told.splitlines())
    program = [sys.executable, cloud_events.__file__, "cell1"]
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        first = running.stdout.readline().split()
        assert (first[0], first[-2]) == ("1", "host.enrolled")
        running.kill()
    assert simulated.lightcurve("log", "account").stdout == "reader-usage\n"
    again = simulated.lightcurve("log", "account", "usage", check=False)
    assert (again.returncode, "Traceback" in again.stderr) == (1, False)
    simulated.lightcurve("log", "account", "usage", "--remove")
    reader = Credentials(environment[USER], environment[PASSWORD])
    with pytest.raises(Unavailable):
        asyncio.run(connect(environment[URL], "a test", reader, 1.0))
