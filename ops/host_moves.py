"""``lightcurve host evacuate`` and ``lightcurve host drain``: have a host's servers on others."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from domain.errors import Refused, not_found

if TYPE_CHECKING:
    from handlers.fleet.hosts import Hosts
    from handlers.ports import Queries
    from handlers.servers.leaving import Leaving, Left
    from ops.roles.plane import Plane
    from ops.settings import Settings

EVACUATED_AT_ONCE, DRAINED_AT_ONCE = 50, 10
"""Servers under way at the same time, unless something else is asked for."""
DRAINED = "drained"
"""Why a host is disabled that was not before."""

Move = Callable[["Leaving", str], Awaitable["Left | None"]]


def register(of_host: Any) -> None:
    """Declare the commands on the parser's ``host`` commands."""
    evacuate = of_host.add_parser("evacuate", help="a host is dead: have all its servers made anew on others")
    evacuate.add_argument("name")
    evacuate.add_argument(
        "--although-alive",
        action="store_true",
        help="it gives signs of life, and is to be declared dead all the same",
    )
    _usual(evacuate, EVACUATED_AT_ONCE)
    evacuate.set_defaults(command=_evacuate)

    drain = of_host.add_parser("drain", help="let no server go to a host, and have all its servers move to others")
    drain.add_argument("name")
    _usual(drain, DRAINED_AT_ONCE)
    drain.set_defaults(command=_drain)


def _usual(parser: argparse.ArgumentParser, at_once: int) -> None:
    from ops.arguments import limit

    parser.add_argument("--at-once", type=limit, default=at_once, metavar="N", help=f"servers; default: {at_once}")
    parser.add_argument("--json", action="store_true", help="the report as one document, at the end")


def _evacuate(arguments: argparse.Namespace) -> None:
    async def begin(work: "_Work", name: str) -> None:
        if work.hosts.fenced(name):
            return
        if not arguments.although_alive:
            await check_dead(work.plane, name, f"its servers can leave it with: lightcurve host drain {name}")
        await work.hosts.force_down(work.plane.stamp.own_context(), name)

    _run(arguments, begin, lambda leaving, server_id: leaving.evacuate(server_id))


def _drain(arguments: argparse.Namespace) -> None:
    async def begin(work: "_Work", name: str) -> None:
        host = work.hosts.named(name)
        if host and (host.forgotten or host.forced_down):
            word = "removed" if host.forgotten else "declared dead"
            raise Refused(
                "host.gone",
                f"Host {name} was {word}: nothing leaves it by itself. Have its servers made anew on other hosts "
                f"with: lightcurve host evacuate {name}",
            )
        if host and host.enabled:
            await work.hosts.disable(work.plane.stamp.own_context(), name, DRAINED)

    _run(arguments, begin, lambda leaving, server_id: leaving.drain(server_id))


class _Work(NamedTuple):
    """What a command works with."""

    plane: "Plane"
    hosts: "Hosts"
    queries: "Queries"
    leaving: "Leaving"


def _run(arguments: argparse.Namespace, begin: Callable[[_Work, str], Awaitable[None]], move: Move) -> None:
    from ops.settings import load

    report = asyncio.run(empty(load(arguments.state_dir / "lightcurve.toml"), arguments, begin, move))
    if arguments.json:
        print(json.dumps(report))
    else:
        _tell(report)
    if report["left"]:
        sys.exit(1)


async def empty(
    settings: "Settings",
    arguments: argparse.Namespace,
    begin: Callable[[_Work, str], Awaitable[None]],
    move: Move,
) -> dict[str, Any]:
    """Have every server of a host somewhere else, as far as that can be; returns the report. Raises Refused (404)."""
    name, started = arguments.name, time.monotonic()
    async with _work(settings, name) as work:
        if work.hosts.named(name) is None:
            raise not_found("Host", name)
        await begin(work, name)
        tried: dict[str, Left | None] = {}
        while fresh := [server_id for server_id in await _on(work.queries, name) if server_id not in tried]:
            if not arguments.json:
                print(f"{len(fresh)} servers on {name}, {min(arguments.at_once, len(fresh))} at a time", flush=True)
            tried |= await _move_all(work.leaving, fresh, arguments, move)
    found = [left for left in tried.values() if left]
    return {
        "host": name,
        "seconds": round(time.monotonic() - started, 1),
        "moved": [{"id": left.id, "name": left.name, "to": left.to, "how": left.how} for left in found if left.to],
        "left": [{"id": left.id, "name": left.name, "reason": left.reason} for left in found if left.reason],
    }


async def _move_all(
    leaving: "Leaving", servers: list[str], arguments: argparse.Namespace, move: Move
) -> "dict[str, Left | None]":
    slots, done = asyncio.Semaphore(arguments.at_once), dict[str, "Left | None"]()

    async def one(server_id: str) -> None:
        async with slots:
            left = done[server_id] = await move(leaving, server_id)
        if left and not arguments.json:
            result = f"-> {left.to}" if left.to else left.how if not left.reason else f"stays: {left.reason}"
            print(f"[{len(done)}/{len(servers)}] {left.name} ({left.id}) {result}", flush=True)

    async with asyncio.TaskGroup() as group:
        for server_id in servers:
            group.create_task(one(server_id))
    return done


def _tell(report: dict[str, Any]) -> None:
    counts: dict[str, int] = {}
    for moved in report["moved"]:
        counts[moved["how"]] = counts.get(moved["how"], 0) + 1
    how = ", ".join(f"{count} {how}" for how, count in sorted(counts.items()))
    how = f" ({how})" if how else ""
    print(f"{len(report['moved'])} servers have left {report['host']} in {report['seconds']} s{how}.")
    if report["left"]:
        print(f"{len(report['left'])} are still there:", file=sys.stderr)
        for left in report["left"]:
            print(f"  {left['name']} ({left['id']}): {left['reason']}", file=sys.stderr)


async def _on(queries: "Queries", name: str) -> list[str]:
    from domain.server.listing import ServerFilter

    return [server.id for server in await queries.servers(ServerFilter(host=name, deleted=False))]


async def check_dead(plane: "Plane", name: str, instead: str) -> None:
    """Raises Refused for a host that gives signs of life, with what is to be done ``instead``."""
    from handlers.fleet.liveness import DOWN_AFTER
    from ops.status import beats_now

    beat = (await beats_now(plane.liveness)).get(f"compute/{name}")
    if beat and datetime.now(UTC) - beat.time < DOWN_AFTER:
        raise Refused(
            "host.alive",
            f"Host {name} is alive: {instead}. If it shall count as dead all the same, say --although-alive: guests "
            "are ended there once they were made anew elsewhere.",
        )


@asynccontextmanager
async def _work(settings: "Settings", name: str) -> AsyncIterator[_Work]:
    from domain.catalogue.quota import Limits
    from domain.fleet import host
    from handlers.fleet.hosts import Hosts
    from handlers.log.disorder import Disorder
    from handlers.log.registry import Registry
    from handlers.servers.leaving import Leaving, Watched
    from handlers.servers.servers import Servers
    from ops.roles.plane import COMMAND_SECONDS, open_plane
    from projections.queries import PostgresQueries

    async with (
        PostgresQueries(settings.database.url) as queries,
        open_plane(settings, "host-moves", COMMAND_SECONDS) as plane,
    ):
        registry = Registry(plane.store, plane.stamp, [host.KIND], Disorder())
        await registry.read_once()
        servers = Servers(plane.cells, Registry(plane.api_store, plane.stamp, []), plane.stamp, Limits())
        watched = Watched(plane.cells)
        async with watched.following(plane.store):
            api = settings.api
            leaving = Leaving(
                name, servers, watched, plane.stamp, api.live_migration_policy, api.live_migration_seconds
            )
            yield _Work(plane, Hosts(registry), queries, leaving)
