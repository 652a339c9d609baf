"""The builds of projections.

Each has tables of its own; views under the plain names show the build in force. So a projection can be built anew
beside the old one while that still answers, and the change-over is one transaction.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from psycopg import AsyncConnection, sql

from projections import parking
from projections.table import Projection, Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS projection_builds (
    build serial PRIMARY KEY, name text NOT NULL, version int NOT NULL, in_force boolean NOT NULL
);
CREATE TABLE IF NOT EXISTS projection_positions (
    build int NOT NULL REFERENCES projection_builds ON DELETE CASCADE,
    cell text NOT NULL, position bigint NOT NULL,
    PRIMARY KEY (build, cell)
);
ALTER TABLE projection_builds ADD COLUMN IF NOT EXISTS recoveries text[] NOT NULL DEFAULT '{}';
"""
"""``recoveries`` are those of the logs (by event id) that a build comes after: what was read before them counts for
nothing."""

RECOVERIES = """
CREATE TABLE IF NOT EXISTS projection_recoveries (event_id text PRIMARY KEY);
"""
"""The recoveries of logs after which everything was built anew."""


class Build(NamedTuple):
    """One building of a projection's tables."""

    number: int
    projection: Projection

    def table(self, table: Table) -> sql.Identifier:
        """The name of this build's own table."""
        return sql.Identifier(f"{table.name}__{self.number}")


async def builds_in_force(connection: AsyncConnection[Any], projections: Iterable[Projection]) -> list[Build]:
    """The builds that answer now. A projection that has none gets an empty one."""
    await connection.execute(SCHEMA + parking.SCHEMA + RECOVERIES)
    builds = []
    for projection in projections:
        cursor = await connection.execute(
            "SELECT build FROM projection_builds WHERE name = %s AND in_force", (projection.name,)
        )
        row = await cursor.fetchone()
        if row:
            builds.append(Build(row[0], projection))
        else:
            async with connection.transaction():
                build = await begin_build(connection, projection)
                await put_in_force(connection, build)
            builds.append(build)
    return builds


async def outdated(connection: AsyncConnection[Any], builds: Iterable[Build]) -> list[Projection]:
    """The projections whose build in force is of another version than today's code."""
    cursor = await connection.execute("SELECT build, version FROM projection_builds")
    versions: dict[int, int] = {build: version async for build, version in cursor}
    return [build.projection for build in builds if versions[build.number] != build.projection.version]


async def unhonoured(connection: AsyncConnection[Any], recoveries: Iterable[str]) -> list[str]:
    """The recoveries of logs (by event id) since which nothing was built anew."""
    cursor = await connection.execute("SELECT event_id FROM projection_recoveries")
    known = {row[0] async for row in cursor}
    return [recovery for recovery in recoveries if recovery not in known]


async def honour(connection: AsyncConnection[Any], recoveries: Iterable[str]) -> None:
    """Remember that everything was built anew since these recoveries."""
    for recovery in recoveries:
        await connection.execute("INSERT INTO projection_recoveries VALUES (%s) ON CONFLICT DO NOTHING", (recovery,))


async def unfinished_builds(
    connection: AsyncConnection[Any], projections: Iterable[Projection], recoveries: Sequence[str] = ()
) -> list[Build]:
    """Builds that were begun and never put in force, because their process ended, and that can be gone on with: the
    newest of each projection, if it is of today's version and comes after these ``recoveries``. Others are
    dropped."""
    by_name = {projection.name: projection for projection in projections}
    cursor = await connection.execute(
        "SELECT build, name, version, recoveries FROM projection_builds WHERE NOT in_force ORDER BY build DESC"
    )
    found: dict[str, Build] = {}
    for number, name, version, since in await cursor.fetchall():
        if name not in by_name:
            continue
        build = Build(number, by_name[name])
        if name not in found and version == build.projection.version and since == sorted(recoveries):
            found[name] = build
        else:
            await drop_build(connection, build)
    return list(found.values())


async def built_since(connection: AsyncConnection[Any], recoveries: Sequence[str]) -> set[str]:
    """The projections whose build in force comes after these recoveries."""
    cursor = await connection.execute(
        "SELECT name FROM projection_builds WHERE in_force AND recoveries = %s", (sorted(recoveries),)
    )
    return {name async for (name,) in cursor}


async def begin_build(
    connection: AsyncConnection[Any], projection: Projection, recoveries: Sequence[str] = ()
) -> Build:
    """Empty tables for a new build, which comes after these recoveries; the one in force still answers. Call it in a
    transaction."""
    cursor = await connection.execute(
        "INSERT INTO projection_builds (name, version, in_force, recoveries) VALUES (%s, %s, false, %s)"
        " RETURNING build",
        (projection.name, projection.version, sorted(recoveries)),
    )
    row = await cursor.fetchone()
    assert row is not None
    build = Build(row[0], projection)
    for table in projection.tables:
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in table.columns.items()
        ]
        await connection.execute(
            sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
                build.table(table), sql.SQL(", ").join(columns), names(table.key)
            )
        )
        for index in table.indexes:
            await connection.execute(sql.SQL("CREATE INDEX ON {} {}").format(build.table(table), sql.SQL(index)))
    return build


async def put_in_force(connection: AsyncConnection[Any], build: Build) -> None:
    """Let a build answer from now on, and drop the one before. Call it in a transaction."""
    name = build.projection.name
    cursor = await connection.execute("SELECT build FROM projection_builds WHERE name = %s AND in_force", (name,))
    old = [Build(number, build.projection) async for (number,) in cursor]
    for table in build.projection.tables:
        await connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(table.name)))
        await connection.execute(
            sql.SQL("CREATE VIEW {} AS SELECT * FROM {}").format(sql.Identifier(table.name), build.table(table))
        )
    for before in old:
        await drop_build(connection, before)
    await connection.execute("UPDATE projection_builds SET in_force = true WHERE build = %s", (build.number,))


async def drop_build(connection: AsyncConnection[Any], build: Build) -> None:
    """Remove a build and its tables."""
    for table in build.projection.tables:
        await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(build.table(table)))
    await connection.execute("DELETE FROM projection_builds WHERE build = %s", (build.number,))


def names(names: Iterable[str]) -> sql.Composed:
    """Names of columns, with commas between."""
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)
