"""``lightcurve consoles``: who sees which server's console, from where, since when."""

from datetime import UTC, datetime

from adapters.rest.identity.directory import Directory
from domain.errors import Invalid, Unavailable
from ops.identity import identity_settings, known_people
from ops.roles.plane import COMMAND_SECONDS, open_plane
from ops.settings import Settings
from ops.tables import ago, table
from projections.console_queries import ConsoleQueries, Seen


async def show(settings: Settings, *, ended: bool, server: str | None, limit: int) -> None:
    """Print the newest sessions, oldest first: the open ones, or with ``ended`` all that there were; of one server,
    also where several had its name. Raises Invalid if there is none."""
    queries = ConsoleQueries(settings.database.url)
    await queries.open()
    try:
        servers = None if server is None else await _servers(queries, server)
        found = await queries.consoles(limit, ended=ended, servers=servers)
    finally:
        await queries.close()
    if not found:
        print("No console was ever open." if ended else "No console is open.")
        return
    names = Names(await _directory(settings))
    head = ("SERVER", "NAME", "TYPE", "USER", "PROJECT", "FROM", "SINCE", "LASTED", "ENDED", "PROXY")
    table(head, [_row(seen, names) for seen in found])


async def _servers(queries: ConsoleQueries, name: str) -> list[str]:
    named = [server.id for server in await queries.servers_named(name)]
    if not named and await queries.server(name) is None:
        raise Invalid(f"There is, and was, no server {name}.")
    return named or [name]


async def _directory(settings: Settings) -> Directory:
    """Whoever the log knows; those of the configuration file while it does not answer."""
    try:
        async with open_plane(settings, "consoles", COMMAND_SECONDS) as plane:
            return await known_people(plane)
    except Unavailable:
        return Directory(identity_settings(settings.identity))


class Names:
    """What users and projects are called, where the embedded identity knows them."""

    def __init__(self, directory: Directory) -> None:
        users = {user.id: user.name for user in directory.users.values()}
        self._names = users | {project.id: project.name for project in directory.projects.values()}

    def of(self, id_: str | None) -> str:
        """The name of a user or a project; its id, if there is none of that id any more."""
        return self._names.get(id_ or "", id_ or "")


def _row(seen: Seen, names: Names) -> tuple[str, ...]:
    session = seen.session
    lasted = (datetime.now(UTC) - session.opened_at).total_seconds() if session.seconds is None else session.seconds
    return (
        session.server_id,
        seen.server_name or "",
        session.console_type,
        names.of(session.user_id),
        names.of(session.project_id),
        session.address,
        f"{session.opened_at:%Y-%m-%d %H:%M:%S}",
        ago(lasted),
        "" if session.closed_at is None else session.reason or "closed",
        session.proxy,
    )
