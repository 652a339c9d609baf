"""A rebuild whose process is killed goes on where it was; and what ``lightcurve projection status`` tells."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from domain.catalogue.keypair import KeypairCreated
from domain.log.record import AggregateId
from handlers.ports import Beat
from ops.embedded.nats import NatsProcess
from ops.projection_status import show
from ops.roles import projector
from ops.roles.troubles import Troubles, troubles_in
from ops.settings import Settings
from projections.builds import begin_build, builds_in_force, built_since, put_in_force, unfinished_builds
from projections.event_log import EventLogView
from projections.postgres import connect
from projections.queries import PostgresQueries
from tests.aio import asynchronous
from tests.ops.parts import open_plane, projecting, settings_for, tell, until_projected
from tests.waiting import until

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

EVENT = KeypairCreated(name="k", key_type="ssh", public_key="x", fingerprint="f")
EVENTS, HALF = 1_500, 1_000
"""More than the batch with which a build begins."""
GATE = 4_711
"""An advisory lock: whoever holds it lets no build beyond HALF."""
GATED = """
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.position > {half} AND NOT (SELECT in_force FROM projection_builds WHERE build = NEW.build) THEN
        PERFORM pg_advisory_xact_lock_shared({gate});
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER gate BEFORE INSERT OR UPDATE ON projection_positions FOR EACH ROW EXECUTE FUNCTION gate();
"""


@contextmanager
def _projector(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """As a process of its own."""
    nats = settings.nats
    config = settings.state_dir / "lightcurve.toml"
    config.write_text(
        f'state_dir = "{settings.state_dir}"\n[nats]\nurl = "{nats.url}"\nuser = "{nats.user}"\n'
        f'password_file = "{nats.password_file}"\n[database]\nurl = "{settings.database.url}"\n'
    )
    command = [sys.executable, "-m", "ops.cli", "run", "projector", "--config", str(config)]
    with (settings.state_dir / "projector.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def _gated(database: str) -> AsyncIterator[None]:
    """No build gets beyond HALF meanwhile."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        await connection.execute(sql.SQL(GATED).format(half=sql.Literal(HALF), gate=sql.Literal(GATE)))
        yield
        # The dead process's statement waits at the gate: nobody wants to know how it would have ended.
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
        await connection.execute("DROP FUNCTION gate CASCADE")


async def _builds(queries: PostgresQueries, name: str) -> dict[int, tuple[int, bool]]:
    """Number, position in the cell, and whether it is in force."""
    rows = [row for row in await queries.positions() if (row[0], row[2]) == (name, "cell1")]
    return {build: (position, in_force) for _, build, _, position, in_force in rows}


@asynchronous
async def test_a_rebuild_that_dies_goes_on_where_it_was(
    mortal: NatsProcess, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    async with open_plane(settings, "test") as plane, PostgresQueries(database) as queries:
        plane.store.soundness.has_archive = False
        for number in range(EVENTS):
            await tell(plane, plane.store, AggregateId("keypair", f"k{number}"), EVENT)
        with _projector(settings) as process:
            await until_projected(plane, queries)
            before = set(await _builds(queries, "event_log"))
            async with _gated(database), await connect(database, "test") as connection:
                await connection.execute("SELECT pg_notify(%s, 'event_log')", (projector.REBUILD,))

                async def is_at_the_gate() -> bool:
                    cursor = await connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                    return await cursor.fetchone() == (1,)

                await until(is_at_the_gate, 30)
                await show(settings)
                process.kill()
                process.wait()
        ((begun, (position, _)),) = (
            (build, place) for build, place in (await _builds(queries, "event_log")).items() if build not in before
        )
        assert 0 < position <= HALF
        assert f"being built, {position / EVENTS:.0%}" in capsys.readouterr().out
        with _projector(settings):

            async def is_in_force() -> bool:
                return (await _builds(queries, "event_log")) == {begun: (EVENTS, True)}

            await until(is_in_force, 30)
        async with await connect(database, "test") as connection:
            cursor = await connection.execute("SELECT count(*), max(position) FROM event_log WHERE cell = 'cell1'")
            assert await cursor.fetchone() == (EVENTS, EVENTS)


class _Newer(EventLogView):
    version = EventLogView.version + 1


@asynchronous
async def test_a_build_that_counts_for_nothing_any_more_is_dropped(database: str) -> None:
    view = EventLogView()
    async with await connect(database, "test") as connection:
        await builds_in_force(connection, [view])
        first = await begin_build(connection, view, ["r1"])
        second = await begin_build(connection, view, ["r1", "r2"])
        newest = await begin_build(connection, view, ["r2", "r1"])
        assert await unfinished_builds(connection, [view], ["r1", "r2"]) == [newest]
        for dropped in (first, second):
            with pytest.raises(psycopg.errors.UndefinedTable):
                await connection.execute(
                    sql.SQL("SELECT FROM {}").format(dropped.table(dropped.projection.tables[0]))
                )
        assert await unfinished_builds(connection, [_Newer()], ["r1", "r2"]) == []
        again = await begin_build(connection, view, ["r1", "r2"])
        assert await built_since(connection, ["r2", "r1"]) == set()
        await put_in_force(connection, again)
        assert await built_since(connection, ["r2", "r1"]) == {"event_log"}
        assert await built_since(connection, ["r2"]) == set()


@asynchronous
async def test_the_status_of_projections(
    mortal: NatsProcess, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        for number in range(20):
            await tell(plane, plane.store, AggregateId("keypair", f"k{number}"), EVENT)
        await until_projected(plane, queries)
        troubles = Troubles()
        troubles.note("servers", "it is not built anew")
        await plane.liveness.beat("projector/other", troubles.facts)
        await show(settings)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for name in ("servers", "event_log"):
        assert [line[2:6] for line in lines if line[:1] == [name]] == [["cell1", "20", "0", "0/s"]]
    assert [line[1:5] for line in lines if line[:1] == ["archive"]] == [
        ["cell1", "20", "0", "0/s"],
        ["api", "0", "0", "0/s"],
    ]
    (error,) = [" ".join(line) for line in lines if line[:1] == ["last"]]
    assert error.startswith("last error of servers: ")
    assert error.endswith("it is not built anew")


def test_troubles_of_somebody_who_tells_nonsense() -> None:
    assert troubles_in(Beat(name="projector/x", time=datetime.now(UTC), facts={"troubles": 7})) == {}
