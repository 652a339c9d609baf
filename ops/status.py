"""``lightcurve status``: every process, every projection and its lag, every host."""

import asyncio
import os
import time
from collections.abc import Iterable
from contextlib import aclosing
from datetime import UTC, datetime

from domain.errors import LightcurveError, Unavailable
from domain.fleet.host import Host
from handlers.fleet.liveness import DOWN_AFTER
from handlers.fleet.refusals import Known, refused_by_host
from handlers.log.disorder import FACT
from handlers.ports import Beat, Liveness
from ops import checkpoint, damage
from ops.roles.plane import COMMAND_SECONDS, Plane, open_plane
from ops.stack import Stack, running
from ops.tables import ago, table
from projections.queries import PostgresQueries

HEARD_SECONDS = 0.3
"""How long signs of life are listened for: all that are kept come at once."""


async def show(stack: Stack) -> None:
    """Print it. Raises Unavailable if the stack does not run."""
    state = running(stack)
    if state is None:
        raise Unavailable(f"no stack runs under {stack.directory}; start it with: lightcurve up")
    print(f"stack {state['phase']}, under {stack.directory}")
    programs = state["programs"]
    assert isinstance(programs, dict)
    table(
        ("PROCESS", "PID", "STATE", "UPTIME", "RESTARTS"),
        [
            (name, str(facts["pid"]), _process_state(facts), ago(time.time() - facts["started"]), facts["restarts"])
            for name, facts in programs.items()
        ],
    )
    if state.get("disk"):
        print(f"\n{state['disk']}")
    settings = stack.settings()
    queries = PostgresQueries(settings.database.url)
    await queries.open()
    try:
        async with open_plane(settings, "status", COMMAND_SECONDS) as plane:
            damage.show(plane)
            await _projections(plane, queries)
            await checkpoint.show_all(plane)
            await _parked(queries)
            beats = await beats_now(plane.liveness)
            _out_of_order(beats)
            await _hosts(beats, queries)
    finally:
        await queries.close()
    nats = stack.nats(settings)
    print(
        f"\nThe log is flushed to the disk {'at once' if nats.sync == 'always' else f'every {nats.sync}'}: ", end=""
    )
    print("it survives the death of its process, not a power cut." if nats.sync != "always" else "it survives both.")


async def _projections(plane: Plane, queries: PostgresQueries) -> None:
    ends = {store.cell: await store.last_position() for store in (plane.store, plane.api_store)}
    try:
        positions = await queries.positions()
    except LightcurveError as error:
        print(f"\n{error.message}")
        return
    table(
        ("PROJECTION", "BUILD", "CELL", "POSITION", "LAG", ""),
        [
            (name, build, cell, position, _lag(ends.get(cell, 0) - position), "" if in_force else "being built")
            for name, build, cell, position, in_force in positions
        ],
    )


def _lag(events: int) -> str:
    return str(events) if events >= 0 else f"ahead by {-events}"


async def _parked(queries: PostgresQueries) -> None:
    """Say what projections could not take in, if there is anything."""
    for name, cell, count, first in await queries.parked_counts():
        events = "1 event is" if count == 1 else f"{count} events are"
        print(
            f"\n{events} parked in projection {name} of {cell}, from position {first} on: it does not show what they "
            "say. See: lightcurve events parked"
        )


def _out_of_order(beats: dict[str, Beat]) -> None:
    """Say which histories a process cannot read or fold, if there are any."""
    for name, beat in sorted(beats.items()):
        # What a host says of itself is nothing to be printed.
        told = None if name.startswith("compute/") else beat.facts.get(FACT)
        for sentence in told if isinstance(told, list) else ():
            print(f"\n{name}: {sentence}")


async def _hosts(beats: dict[str, Beat], queries: PostgresQueries) -> None:
    refused = refusals(beats.values())
    rows = []
    for row in await queries.hosts():
        beat = beats.get(f"compute/{row.name}")
        seen = datetime.now(UTC) - beat.time if beat else None
        state = row.state
        rows.append(
            (
                row.name,
                row.cell,
                "up" if seen is not None and seen < DOWN_AFTER and not state.forced_down else "down",
                switched(state),
                ago(seen.total_seconds()) if seen else "never",
                f"{state.description.vcpus} vcpus, {state.description.memory_mb} MiB, {state.description.disk_gb} GB",
                state.description.hypervisor_type,
                refused[row.name].times if row.name in refused else "",
            )
        )
    table(("HOST", "CELL", "STATE", "STATUS", "HEARD", "OFFERS", "TYPE", "REFUSED"), rows)


def switched(host: Host) -> str:
    """What operators have said of a host, in words."""
    enabled = "enabled" if host.enabled else f"disabled ({host.disabled_reason or 'no reason given'})"
    return f"{enabled}, forced down" if host.forced_down else enabled


def refusals(beats: Iterable[Beat]) -> dict[str, Known]:
    """What hosts were refused, by the words of those who judge them: no host speaks of itself or of others."""
    found: dict[str, Known] = {}
    for beat in beats:
        if not beat.name.startswith("compute/"):
            for host, (times, reason) in refused_by_host(beat.facts).items():
                known = found.get(host, Known(0, ""))
                found[host] = Known(known.times + times, reason)
    return found


async def beats_now(liveness: Liveness) -> dict[str, Beat]:
    """The last sign of life of everybody."""
    found: dict[str, Beat] = {}
    try:
        async with asyncio.timeout(HEARD_SECONDS), aclosing(liveness.watch()) as beats:  # type: ignore[type-var]
            async for beat in beats:
                found[beat.name] = beat
    except TimeoutError:
        pass
    return found


def _process_state(facts: dict[str, object]) -> str:
    try:
        os.kill(int(str(facts["pid"])), 0)
    except OSError:
        return "ended"
    return str(facts["state"])
