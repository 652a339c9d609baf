import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from ops.embedded.postgres import EmbeddedPostgres
from tests.aio import run


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
