"""Is it slower than it was? A stack of this tree and one of another commit side by side, worked on in turns.

``python -m ops.bench.compare COMMIT`` has servers created, read and deleted, a burst on the one stack and then one on
the other, and prints what each cost both. Machines change their pace from minute to minute, by half where they are
shared; two bursts are a second apart, so what slows the one slows the other. The first round is for warming up. Where
others want the processor, too, a rate also tells who goes first (ADR 50): then the CPU says more.
"""

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ops.bench.http import Client, log_in
from ops.bench.stack import ROOT, cpu_seconds, stack
from ops.stack import Stack

SERVERS = "/compute/v2.1/servers"
READS = 3
"""Of each server."""
SHOWN = 0.01
"""Milliseconds for a request: programs that have used less are left out."""
MAX_BURST = 240
"""Servers at once: a network that is there from the beginning has room for so many."""


class Burst(NamedTuple):
    """What some requests cost."""

    requests: int
    seconds: float
    """Until what they asked for is done."""
    cpu: dict[str, float]
    """Seconds by program."""


class Side:
    """One of the two stacks."""

    def __init__(self, measured: Stack) -> None:
        self._measured = measured
        self._clients: list[Client] = []
        self._body: dict[str, Any] = {}
        self._ids: list[str] = []
        self.bursts: dict[str, list[Burst]] = {}
        """By kind."""

    async def open(self, clients: int) -> None:
        """Log in, and choose what is asked for."""
        settings = self._measured.settings()
        for _ in range(clients):
            client = Client("127.0.0.1", settings.api.port)
            await log_in(client, self._measured.password("admin"))
            self._clients.append(client)
        client = self._clients[0]
        image = (await client.request("GET", "/image/v2/images")).json()["images"][0]["id"]
        network = (await client.request("GET", "/network/v2.0/networks")).json()["networks"][0]["id"]
        asked = {"name": "bench", "flavorRef": "42", "imageRef": image, "networks": [{"uuid": network}]}
        self._body = {"server": asked}

    def close(self) -> None:
        for client in self._clients:
            client.close()

    async def create(self, count: int) -> None:
        """Until all are ACTIVE."""
        answers = await self._burst("create", [("POST", SERVERS, self._body)] * count, f"{SERVERS}?status=BUILD")
        self._ids = [answer["server"]["id"] for answer in answers]

    async def read(self) -> None:
        await self._burst("read", [("GET", f"{SERVERS}/{server_id}", None) for server_id in self._ids * READS])

    async def delete(self) -> None:
        """Until there are none."""
        await self._burst("delete", [("DELETE", f"{SERVERS}/{server_id}", None) for server_id in self._ids], SERVERS)

    async def _burst(self, kind: str, requests: list[tuple[str, str, Any]], undone: str | None = None) -> list[Any]:
        """The answers; all clients send, until ``undone`` lists no server any more."""
        queue, answers = list(requests), list[Any]()

        async def work(client: Client) -> None:
            while queue:
                answer = await client.request(*queue.pop())
                assert answer.status < 300, answer
                answers.append(answer.json() if answer.body else None)

        before, began = cpu_seconds(self._measured), time.perf_counter()
        await asyncio.gather(*(work(client) for client in self._clients))
        if undone:
            await self._clients[0].until("GET", undone, lambda answer: not answer.json()["servers"])
        seconds = time.perf_counter() - began
        used = {name: cpu - before.get(name, 0.0) for name, cpu in cpu_seconds(self._measured).items()}
        self.bursts.setdefault(kind, []).append(Burst(len(requests), seconds, used))
        return answers

    def forget(self) -> None:
        """What was measured so far was for warming up."""
        self.bursts.clear()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.compare")
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--servers", type=int, default=200, help=f"of a burst, {MAX_BURST} at the most")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--hosts", type=int, default=100)
    arguments = parser.parse_args()
    with ExitStack() as both:
        tree = both.enter_context(_tree(arguments.commit))
        then, here = (Side(both.enter_context(stack(arguments.hosts, at))) for at in (tree, ROOT))
        asyncio.run(_take_turns(then, here, arguments))
    _print(arguments.commit, then, here)


async def _take_turns(then: Side, here: Side, arguments: argparse.Namespace) -> None:
    for side in (then, here):
        await side.open(arguments.clients)
    for number in range(arguments.rounds + 1):
        sides = (then, here) if number % 2 else (here, then)
        for side in sides:
            await side.create(min(arguments.servers, MAX_BURST))
        for side in sides:
            await side.read()
        for side in sides:
            await side.delete()
        if number == 0:
            then.forget()
            here.forget()
    for side in (then, here):
        side.close()


@contextmanager
def _tree(commit: str) -> Iterator[Path]:
    """The files of a commit."""
    with tempfile.TemporaryDirectory(prefix="lightcurve-compare-") as directory:
        archive = subprocess.run(["git", "-C", ROOT, "archive", commit], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", directory], input=archive, check=True)
        yield Path(directory)


def _print(commit: str, then: Side, here: Side) -> None:
    rounds = f"{len(here.bursts['create'])} rounds"
    print(f"{rounds:44} {commit[:10]:>12} {'here':>12} {'ratio':>7}   {'middle half':>14}")
    for kind, bursts in here.bursts.items():
        pairs = list(zip(then.bursts[kind], bursts, strict=True))
        _row(f"{kind}: done", "/s", [(one.requests / one.seconds, two.requests / two.seconds) for one, two in pairs])
        _row(f"{kind}: CPU, all programs", "ms", [(_all(one), _all(two)) for one, two in pairs])
        for name in bursts[0].cpu:
            if sum(_each(one, name) for one, _ in pairs if name in one.cpu) > SHOWN * len(pairs):
                _row(f"    {name}", "ms", [(_each(one, name), _each(two, name)) for one, two in pairs])


def _each(burst: Burst, name: str) -> float:
    """Milliseconds for a request."""
    return 1000 * burst.cpu[name] / burst.requests


def _all(burst: Burst) -> float:
    return sum(_each(burst, name) for name in burst.cpu)


def _row(name: str, unit: str, pairs: list[tuple[float, float]]) -> None:
    """The means, their ratio, and between which ratios the middle half of the rounds lies."""
    one, two = (statistics.fmean(each) for each in zip(*pairs, strict=True))
    ratios = sorted(second / first for first, second in pairs if first)
    spread = f"{ratios[len(ratios) // 4]:.2f} to {ratios[-1 - len(ratios) // 4]:.2f}" if ratios else ""
    print(f"{name:44} {one:9.3f} {unit:2} {two:9.3f} {unit:2} {two / one:7.3f}   {spread:>14}")


if __name__ == "__main__":
    main()
