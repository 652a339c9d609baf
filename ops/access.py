"""``lightcurve at MOMENT access SERVER``: who could have read what was on a server's disk, up to a moment."""

from datetime import datetime

from domain.console import ConsoleClosed, ConsoleGranted, ConsoleOpened
from domain.log.moment import Moment
from domain.log.record import Event
from domain.server.actions.create_image import ServerImageRequested
from domain.server.actions.rebuild import ServerRebuildRequested
from domain.server.actions.rescue import ServerRescueRequested
from domain.server.actions.shelve import ServerShelveRequested
from domain.server.state import DELETED, Server
from ops.at import say
from ops.past import Past, Then, events_of, written
from ops.tables import ago, table
from ops.whereabouts import stays

WAYS: dict[type[Event], str] = {
    ServerImageRequested: "had an image made of it, for whoever may use that",
    ServerShelveRequested: "had it put away: an image of it was made",
    ServerRescueRequested: "had it started from another image, with its disk beside it",
    ServerRebuildRequested: "had its disk made anew: what was on it before is gone",
}
"""What users have a server do that shows its disk, or ends it."""
MOST_SESSIONS = 10_000


async def access(past: Past, moment: str, name: str) -> None:
    """Print the hosts on which the disk lay, who had rights on it, who saw its screen, and what else showed it."""
    then = await past.at(moment)
    server = await then.server(name)
    history = await then.history(server.id)
    say(then, f"who could have read the disk of {server.name} ({server.id})")
    places = [(stay.host, written(stay.since), written(stay.until)) for stay in stays(history)]
    table(("HOST THAT IT LAY ON", "SINCE", "UNTIL"), places)
    table(("USER WHO MAY ASK FOR IT, AS CONFIGURED TODAY", "ROLES", "IN PROJECT"), _people(past, server))
    if sessions := await _sessions(past, then, server.id):
        table(("CONSOLE OF", "TYPE", "FROM", "SINCE", "LASTED"), sessions)
    else:
        print("\nNo console of it was opened.")
    for recorded in history:
        if way := WAYS.get(type(recorded.event)):
            who = past.names.user(recorded.meta.user_id)
            print(f"\n{written(recorded.meta.time)} {who}, {recorded.meta.request_id}: {way}")
    if server.has_key:
        print(f"\nUser data and passwords: {_of_secrets(server, await past.erased(server.id))} read them.")


def _of_secrets(server: Server, erased: datetime | None) -> str:
    """Who can, in the middle of a sentence."""
    if erased:
        return f"erased {written(erased)}, so that nobody can"
    # There is no guest any more, but its key outlives it for some time.
    if server.vm_state == DELETED:
        return "sealed; until they are erased, who has the cell's keys can"
    return "sealed; its guest and its host can"


def _people(past: Past, server: Server) -> list[tuple[str, str, str]]:
    """The log does not know who had which role when."""
    directory = past.names.directory
    return sorted(
        (user.name, ", ".join(roles), past.names.project(project_id))
        for user in directory.users.values()
        for project_id in directory.projects
        if (roles := directory.roles(user.id, project_id))
        and ("admin" in roles or (project_id == server.project_id and "member" in roles))
    )


async def _sessions(past: Past, then: Then, server_id: str) -> list[tuple[str, str, str, str, str]]:
    """Every session of its consoles, oldest first."""
    wanted = {"type": "console.", "server_id": server_id}
    rows = await past.queries.page(wanted, Moment.of({}), then.moment, MOST_SESSIONS, whole_only=False)
    events = [recorded for recorded in (await events_of(past, rows)).values() if recorded]
    types = {each.aggregate.id: each.event.console_type for each in events if isinstance(each.event, ConsoleGranted)}
    ends = {each.event.session_id: each.event for each in events if isinstance(each.event, ConsoleClosed)}
    return [
        (
            past.names.user(opened.meta.user_id),
            types.get(opened.aggregate.id, ""),
            opened.event.address,
            written(opened.meta.time),
            _lasted(ends.get(opened.event.session_id)),
        )
        for opened in events
        if isinstance(opened.event, ConsoleOpened)
    ]


def _lasted(end: ConsoleClosed | None) -> str:
    return ago(end.seconds) if end else "open then"
