"""``lightcurve identity``: the way back in for an operator whom the API lets in no more."""

import argparse
import asyncio
import secrets
import sys
from collections.abc import Iterable
from typing import Any

from adapters.rest.identity.catalogue import stable_id
from adapters.rest.identity.passwords import hashed_beside
from domain.errors import Invalid, Unavailable
from domain.neighbours.identity import rules
from domain.neighbours.identity.events import ProjectChanged, RoleCreated, UserChanged
from domain.neighbours.identity.state import ADMIN, KIND, Identity
from handlers.context import Context
from handlers.log.registry import Registry
from handlers.neighbours.people import People
from ops.roles.plane import COMMAND_SECONDS, open_plane
from ops.settings import Settings, load


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    identity = commands.add_parser("identity", help="let somebody in again who is locked out")
    kinds = identity.add_subparsers(required=True, metavar="COMMAND")
    reset = kinds.add_parser("reset-password", help="give a user a new password, and enable the user")
    reset.add_argument("name")
    reset.add_argument("--grant-admin", metavar="PROJECT", help="and the role admin in that project")
    reset.add_argument("--stdin", action="store_true", help="read the password from there; else one is made and told")
    reset.set_defaults(command=_reset)


def _reset(arguments: argparse.Namespace) -> None:
    password = sys.stdin.readline().rstrip("\n") if arguments.stdin else secrets.token_urlsafe(12)
    if not password:
        raise Invalid("The password is empty.")
    settings = load(arguments.state_dir / "lightcurve.toml")
    asyncio.run(_reset_password(settings, arguments.name, password, arguments.grant_admin))
    if not arguments.stdin:
        print(password)


async def _reset_password(settings: Settings, name: str, password: str, admin_in: str | None) -> None:
    async with open_plane(settings, "identity", COMMAND_SECONDS) as plane:
        registry = Registry(plane.api_store, plane.stamp, [KIND])
        await registry.read_once()
        people = People(registry, plane.api_vault, plane.stamp, hashed_beside)
        await let_in(people, plane.stamp.own_context(), name, password, admin_in)


async def let_in(people: People, context: Context, name: str, password: str, admin_in: str | None = None) -> None:
    """Give a user a password and, if wanted, the role of administrators in a project, which is enabled, too. Raises
    Invalid for whom there is not, and Unavailable."""
    state = people.state
    if state is None:
        raise Unavailable("No user is recorded yet: an API process does that when it starts.")
    user_id = _named("user", state.users.values(), name)
    project_id = _named("project", state.projects.values(), admin_in) if admin_in else None
    await people.change_user(context, UserChanged(user_id=user_id, enabled=True), password)
    if project_id is None:
        return
    await people.execute(
        context, lambda known: rules.change_project(known, ProjectChanged(project_id=project_id, enabled=True))
    )
    role_id = await _admin_role(people, context, state)
    await people.execute(context, lambda known: rules.grant(known, user_id, project_id, role_id))


async def _admin_role(people: People, context: Context, state: Identity) -> str:
    """The id of the role; it is made if there is none any more."""
    found = next((role.id for role in state.roles.values() if role.name == ADMIN), None)
    if found is None:
        found = stable_id("role", ADMIN)
        created = RoleCreated(role_id=found, name=ADMIN)
        await people.execute(context, lambda known: rules.create_role(known, created))
    return found


def _named(noun: str, known: Iterable[Any], name: str) -> str:
    found: str | None = next((each.id for each in known if name in (each.name, each.id)), None)
    if found is None:
        raise Invalid(f"There is no {noun} {name}.")
    return found
