"""Who holds which role where."""

from collections.abc import Iterator
from typing import Any

from adapters.rest.identity.directory import DOMAIN_ID, DOMAIN_NAME, Directory, with_implied
from adapters.rest.identity.documents import Document, base, listing, role_document
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.settings import RestSettings
from domain.neighbours.identity import rules
from domain.neighbours.identity.rules import not_assigned

NOBODYS = ("group.id", "scope.system", "scope.domain.id", "scope.OS-INHERIT:inherited_to")
"""Assignments that are not those of a user in a project: there are none."""
FALSE = ("0", "false")
HELD = "/v3/projects/{project_id}/users/{user_id}/roles"


def operations(settings: RestSettings, directory: Directory) -> Operations:
    declare = Operations()

    @declare("GET", "/v3/role_assignments", Access.ADMIN, "identity:list_role_assignments")
    async def list_role_assignments(call: Call) -> Any:
        wanted = [call.query.get(name) for name in ("user.id", "scope.project.id", "role.id")]
        named, effective = _asked(call, "include_names"), _asked(call, "effective")
        assignments: list[Document] = []
        held = () if any(name in call.query for name in NOBODYS) else _held(directory, implied=effective)
        for user, project, role in held:
            ids = user["id"], project["id"], role["id"]
            if all(want in (None, has) for want, has in zip(wanted, ids, strict=True)):
                shown = [part if named else {"id": part["id"]} for part in (user, project, role)]
                path = f"projects/{ids[1]}/users/{ids[0]}/roles/{ids[2]}"
                assignments.append(
                    {
                        "user": shown[0],
                        "scope": {"project": shown[1]},
                        "role": shown[2],
                        "links": {"assignment": f"{base(settings)}/{path}"},
                    }
                )
        return listing(settings, "role_assignments", assignments)

    @declare("GET", HELD, Access.ADMIN, "identity:list_grants")
    async def list_grants(call: Call) -> Any:
        user = directory.user(call.params["user_id"])
        project = directory.project(call.params["project_id"])
        held = [directory.role(directory.role_id(name)) for name in user.roles.get(project.id, ())]
        return listing(settings, "roles", [role_document(settings, role) for role in held])

    for method in ("GET", "HEAD"):
        _declare_check(declare, method, directory)

    @declare("PUT", HELD + "/{role_id}", Access.ADMIN, "identity:create_grant", status=204)
    async def create_grant(call: Call) -> None:
        user_id, project_id, role_id = _named(call)
        people = call.services.people
        _, accepted = await people.execute(
            call.context, lambda state: rules.grant(state, user_id, project_id, role_id), user_id
        )
        await call.settle(accepted)

    @declare("DELETE", HELD + "/{role_id}", Access.ADMIN, "identity:revoke_grant", status=204)
    async def revoke_grant(call: Call) -> None:
        user_id, project_id, role_id = _named(call)
        people = call.services.people
        _, accepted = await people.execute(
            call.context, lambda state: rules.take(state, user_id, project_id, role_id), user_id
        )
        await call.settle(accepted)

    for place in ("domains/{domain_id}", "system"):
        for method, verb in (("PUT", "create"), ("DELETE", "revoke")):
            _declare_unbuilt(declare, method, f"/v3/{place}/users/{{user_id}}/roles/{{role_id}}", verb)
    return declare


def _declare_check(declare: Operations, method: str, directory: Directory) -> None:
    @declare(method, HELD + "/{role_id}", Access.ADMIN, "identity:check_grant", status=204)
    async def check_grant(call: Call) -> None:
        user_id, project_id, role_id = _named(call)
        user, project, role = directory.user(user_id), directory.project(project_id), directory.role(role_id)
        if role.name not in user.roles.get(project.id, ()):
            raise not_assigned(role_id)


def _declare_unbuilt(declare: Operations, method: str, path: str, verb: str) -> None:
    rule = f"identity:{verb}_system_grant_for_user" if "system" in path else f"identity:{verb}_grant"

    @declare(method, path, Access.ADMIN, rule)
    async def refuse(_call: Call) -> Any:
        raise not_implemented("A role in a domain or in the system")


def _named(call: Call) -> tuple[str, str, str]:
    return call.params["user_id"], call.params["project_id"], call.params["role_id"]


def _asked(call: Call, name: str) -> bool:
    return name in call.query and call.query[name].lower() not in FALSE


def _held(directory: Directory, *, implied: bool) -> Iterator[tuple[Document, Document, Document]]:
    """Every user, project and role that go together, each with its name and domain."""
    domain = {"id": DOMAIN_ID, "name": DOMAIN_NAME}
    for user in directory.users.values():
        for project_id, held in user.roles.items():
            project = directory.project(project_id)
            for role in with_implied(held) if implied else held:
                yield (
                    {"id": user.id, "name": user.name, "domain": domain},
                    {"id": project.id, "name": project.name, "domain": domain},
                    {"id": directory.role_id(role), "name": role},
                )
