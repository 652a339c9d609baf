"""What each project has used, by the second: every server from when it was built until it was deleted.

    python usage_by_project.py FILE          follow the log, for ever
    python usage_by_project.py FILE report   print what is known so far

What was counted and how far the log was read are written in one transaction: however often the program is killed,
nothing is counted twice and nothing is left out.
"""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteDatastore, SQLiteTrackingRecorder

from adapters.nats.following import CellLog
from domain.log.record import Recorded
from domain.server.creation import ServerBuilt, ServerRequested
from domain.server.deletion import ServerDeleted

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Log(CellLog):
    """The log of ``cell1``."""

    name = "cell1"


class Usage(SQLiteTrackingRecorder):
    """A row a server: times in microseconds since 1970."""

    def construct_create_table_statements(self) -> list[str]:
        table = (
            "CREATE TABLE IF NOT EXISTS servers (id TEXT PRIMARY KEY, project TEXT, vcpus INT, since INT, until INT)"
        )
        return [*super().construct_create_table_statements(), table]

    def note(self, tracking: Tracking, statement: str, *values: Any) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(statement, values)
            self._insert_tracking(cursor, tracking)

    def seconds(self, now: datetime) -> dict[str, tuple[float, float]]:
        """By project: seconds of servers, and of their processors."""
        ran = "SELECT *, min(coalesce(until, :now), :now) - since AS ran FROM servers WHERE since < :now"
        text = f"SELECT project, sum(ran), sum(ran * vcpus) FROM ({ran}) GROUP BY project"  # noqa: S608
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(text, {"now": micros(now)})
            return {row[0]: (row[1] / 1e6, row[2] / 1e6) for row in cursor.fetchall()}


class UsageByProject(Projection[Usage]):
    """Only these events are asked for."""

    topics = ("server.requested@1", "server.built@1", "server.deleted@1")

    def process_event(self, domain_event: Recorded, tracking: Tracking) -> None:
        server, time = domain_event.aggregate.id, micros(domain_event.meta.time)
        match domain_event.event:
            case ServerRequested(project_id=project, flavor=flavor):
                row = (server, project, flavor.vcpus)
                self.view.note(tracking, "INSERT INTO servers (id, project, vcpus) VALUES (?, ?, ?)", *row)
            case ServerBuilt():
                self.view.note(tracking, "UPDATE servers SET since = coalesce(since, ?) WHERE id = ?", time, server)
            case ServerDeleted():
                self.view.note(tracking, "UPDATE servers SET until = ? WHERE id = ?", time, server)


def micros(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


def main() -> None:
    file, *report = sys.argv[1:]
    if report:
        for project, (seconds, of_vcpus) in Usage(SQLiteDatastore(file)).seconds(datetime.now(UTC)).items():
            print(f"{project} {seconds:.0f} s of servers, {of_vcpus:.0f} s of processors")
        return
    env = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": file}
    with ProjectionRunner(
        application_class=Log, projection_class=UsageByProject, view_class=Usage, env=env
    ) as runner:
        runner.run_forever()


if __name__ == "__main__":
    main()
