"""``lightcurve host evacuate`` and ``host drain``: what is asked of whom, and what is told."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from domain.errors import Refused
from handlers.ports import Beat
from handlers.servers.leaving import Left
from ops import host_moves, settings, status


class Cloud:
    """Servers on node1, which leave it as they are told to."""

    def __init__(self, servers: int, late: int = 0) -> None:
        self.there = [f"s{number}" for number in range(servers)]
        self.late = [f"late{number}" for number in range(late)]
        self.stay: dict[str, str] = {}
        self.enabled, self.dead, self.alive = True, False, False
        self.forgotten = False
        self.at_once = self.most = 0
        self.plane = SimpleNamespace(stamp=SimpleNamespace(own_context=lambda: None), liveness=None)

    # the hosts
    def named(self, name: str) -> Any:
        host = SimpleNamespace(enabled=self.enabled, forced_down=self.dead, forgotten=self.forgotten)
        return host if name == "node1" else None

    def fenced(self, _name: str) -> bool:
        return self.dead

    async def force_down(self, _context: object, _name: str) -> None:
        self.dead = True

    async def disable(self, _context: object, _name: str, reason: str) -> None:
        assert reason == host_moves.DRAINED
        self.enabled = False

    # the questions
    async def servers(self, _wanted: object) -> list[Any]:
        return [SimpleNamespace(id=server) for server in self.there]

    # how they leave
    async def evacuate(self, server: str) -> Left:
        assert self.dead
        return await self._leave(server, "evacuated")

    async def drain(self, server: str) -> Left:
        assert not self.enabled
        return await self._leave(server, "live")

    async def _leave(self, server: str, how: str) -> Left:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if server in self.stay:
            return Left(server, server, None, how, self.stay[server])
        self.there.remove(server)
        if self.late:
            self.there.append(self.late.pop())
        return Left(server, server, "node2", how)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    def command(cloud: Cloud, *words: str) -> None:
        @asynccontextmanager
        async def work(_settings: object, _name: str) -> AsyncIterator[Any]:
            yield SimpleNamespace(plane=cloud.plane, hosts=cloud, queries=cloud, leaving=cloud)

        async def beats(_liveness: object) -> dict[str, Beat]:
            heard = datetime.now(UTC) - (timedelta(0) if cloud.alive else timedelta(hours=1))
            return {"compute/node1": Beat("compute/node1", heard, {})}

        monkeypatch.setattr(host_moves, "_work", work)
        monkeypatch.setattr(status, "beats_now", beats)
        monkeypatch.setattr(settings, "load", lambda _file: None)
        parser = argparse.ArgumentParser()
        host_moves.register(parser.add_subparsers())
        arguments = parser.parse_args(words)
        arguments.state_dir = Path()
        arguments.command(arguments)

    return command


def test_a_drained_host_takes_nobody_and_all_leave_it_also_who_came_late(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = Cloud(7, late=2)
    run(cloud, "drain", "node1", "--at-once", "3")
    assert (cloud.enabled, cloud.there, cloud.most) == (False, [], 3)
    told = capsys.readouterr().out
    assert "[7/7]" in told
    assert "9 servers have left node1" in told
    assert "(9 live)" in told


def test_what_stays_is_told_with_its_reason(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    cloud = Cloud(2)
    cloud.stay["s1"] = "No valid host was found."
    with pytest.raises(SystemExit) as ended:
        run(cloud, "drain", "node1", "--json")
    assert ended.value.code == 1
    report = json.loads(capsys.readouterr().out)
    assert report["moved"] == [{"id": "s0", "name": "s0", "to": "node2", "how": "live"}]
    assert report["left"] == [{"id": "s1", "name": "s1", "reason": "No valid host was found."}]
    with pytest.raises(SystemExit):
        run(cloud, "drain", "node1")
    assert "s1 (s1): No valid host was found." in capsys.readouterr().err


def test_a_host_that_lives_is_declared_dead_only_on_purpose(run: Any) -> None:
    cloud = Cloud(1)
    cloud.alive = True
    with pytest.raises(Refused, match="host drain node1"):
        run(cloud, "evacuate", "node1")
    assert not cloud.dead
    run(cloud, "evacuate", "node1", "--although-alive")
    assert (cloud.dead, cloud.there) == (True, [])
    # Again: it is declared dead already, whatever it says itself.
    run(cloud, "evacuate", "node1")
    silent = Cloud(1)
    run(silent, "evacuate", "node1")
    assert silent.there == []


@pytest.mark.parametrize(("how", "told"), [("dead", "declared dead"), ("forgotten", "was removed")])
def test_nobody_waits_for_servers_to_leave_a_host_that_is_gone(run: Any, how: str, told: str) -> None:
    cloud = Cloud(1)
    setattr(cloud, how, True)
    with pytest.raises(Refused, match=f"{told}.*host evacuate node1"):
        run(cloud, "drain", "node1")
    assert cloud.enabled
    run(cloud, "evacuate", "node1")
    assert cloud.there == []


def test_an_unknown_host_is_told_so(run: Any) -> None:
    for command in ("evacuate", "drain"):
        with pytest.raises(Refused, match="could not be found"):
            run(Cloud(0), command, "node9")
