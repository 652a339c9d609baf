"""The fixtures of tests that need the real PostgreSQL, and what fills it."""

import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from domain.log.record import Recorded
from ops.embedded.postgres import EmbeddedPostgres
from projections.builds import builds_in_force
from projections.console_sessions import ConsoleSessionsView
from projections.event_log import EventLogView
from projections.hosts import HostsView
from projections.instance_actions import InstanceActionsView
from projections.migrations import MigrationsView
from projections.postgres import PostgresRows, connect
from projections.servers import ServersView
from projections.table import Projection
from tests.aio import run

PROJECTIONS: tuple[Projection, ...] = (
    ServersView(),
    InstanceActionsView(),
    MigrationsView(),
    HostsView(),
    EventLogView(),
    ConsoleSessionsView(),
)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A real PostgreSQL of our own."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    server.prepare()
    process = subprocess.Popen(server.argv(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        run(server.ready())
        yield server
    finally:
        process.kill()
        process.wait()
        server.erase()


@pytest.fixture
def database(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    name = f"t{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.url.replace("/postgres?", f"/{name}?")


async def project(url: str, events: list[Recorded], projections: tuple[Projection, ...] = PROJECTIONS) -> None:
    """Have the projections of a database take in events of one cell."""
    async with await connect(url, "test") as connection:
        rows = PostgresRows(connection, await builds_in_force(connection, projections))
        await rows.open()
        await rows.apply(events)
