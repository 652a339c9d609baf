"""Making, changing and deleting projects, users and roles.
https://docs.openstack.org/api-ref/identity/v3/"""

from typing import Any

from msgspec import UNSET, UnsetType

from adapters.rest.identity.bodies import ProjectBody, ProjectFields, RoleBody, UserBody, UserFields
from adapters.rest.identity.directory import DOMAIN_ID, Directory
from adapters.rest.identity.documents import project_document, role_document, user_document
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.policy import forbidden
from adapters.rest.kit.settings import RestSettings
from domain.errors import Invalid, Refused
from domain.neighbours.identity import rules
from domain.neighbours.identity.events import (
    ProjectChanged,
    ProjectCreated,
    RoleChanged,
    RoleCreated,
    UserChanged,
    UserCreated,
)


def operations(settings: RestSettings, directory: Directory) -> Operations:
    """What administrators may do. Others have their own passwords and application credentials."""
    declare = Operations()
    _declare_projects(declare, settings, directory)
    _declare_roles(declare, settings, directory)
    _declare_users(declare, settings, directory)
    for method, path, what in (
        ("POST", "/v3/domains", "Another domain"),
        ("PATCH", "/v3/domains/{domain_id}", "Changing the domain"),
        ("DELETE", "/v3/domains/{domain_id}", "Deleting the domain"),
    ):
        _declare_unbuilt(declare, method, path, what)
    return declare


def _declare_unbuilt(declare: Operations, method: str, path: str, what: str) -> None:
    verb = {"POST": "create", "PATCH": "update", "DELETE": "delete"}[method]

    @declare(method, path, Access.ADMIN, f"identity:{verb}_domain")
    async def refuse(_call: Call) -> Any:
        raise not_implemented(what)


def _declare_projects(declare: Operations, settings: RestSettings, directory: Directory) -> None:
    @declare("POST", "/v3/projects", Access.ADMIN, "identity:create_project", body=ProjectBody, status=201)
    async def create_project(call: Call) -> Any:
        given: ProjectFields = call.body.project
        _check_place(given.domain_id, given.options)
        if given.is_domain is True or given.parent_id not in (UNSET, None, DOMAIN_ID):
            raise not_implemented("A project within another, or that is a domain,")
        event = ProjectCreated(
            project_id=_new_id(call),
            name=_required("name", given.name),
            description=_text(given.description) or "",
            enabled=given.enabled is not False,
            tags=tuple(given.tags or ()),
        )
        _, accepted = await call.services.people.execute(
            call.context, lambda state: rules.create_project(state, event)
        )
        await call.settle(accepted)
        return {"project": project_document(settings, directory.project(event.project_id))}

    @declare("PATCH", "/v3/projects/{project_id}", Access.ADMIN, "identity:update_project", body=ProjectBody)
    async def update_project(call: Call) -> Any:
        given: ProjectFields = call.body.project
        directory.project(call.params["project_id"])
        _check_place(given.domain_id, given.options)
        if given.is_domain is True or given.parent_id not in (UNSET, None, DOMAIN_ID):
            raise not_implemented("A project within another, or that is a domain,")
        event = ProjectChanged(
            project_id=call.params["project_id"],
            name=_given(given.name),
            description=_text(given.description),
            enabled=_given(given.enabled),
            tags=None if given.tags is UNSET else tuple(given.tags),
        )
        _, accepted = await call.services.people.execute(
            call.context, lambda state: rules.change_project(state, event)
        )
        await call.settle(accepted)
        return {"project": project_document(settings, directory.project(event.project_id))}

    @declare("DELETE", "/v3/projects/{project_id}", Access.ADMIN, "identity:delete_project", status=204)
    async def delete_project(call: Call) -> None:
        project_id = call.params["project_id"]
        _, accepted = await call.services.people.execute(
            call.context, lambda state: rules.delete_project(state, project_id)
        )
        await call.settle(accepted)


def _declare_roles(declare: Operations, settings: RestSettings, directory: Directory) -> None:
    @declare("POST", "/v3/roles", Access.ADMIN, "identity:create_role", body=RoleBody, status=201)
    async def create_role(call: Call) -> Any:
        given = call.body.role
        _check_role(given.domain_id, given.options)
        event = RoleCreated(
            role_id=_new_id(call),
            name=_required("name", given.name),
            description=_text(given.description) or "",
        )
        _, accepted = await call.services.people.execute(call.context, lambda state: rules.create_role(state, event))
        await call.settle(accepted)
        return {"role": role_document(settings, directory.role(event.role_id))}

    @declare("PATCH", "/v3/roles/{role_id}", Access.ADMIN, "identity:update_role", body=RoleBody)
    async def update_role(call: Call) -> Any:
        given = call.body.role
        directory.role(call.params["role_id"])
        _check_role(given.domain_id, given.options)
        event = RoleChanged(
            role_id=call.params["role_id"], name=_given(given.name), description=_text(given.description)
        )
        _, accepted = await call.services.people.execute(call.context, lambda state: rules.change_role(state, event))
        await call.settle(accepted)
        return {"role": role_document(settings, directory.role(event.role_id))}

    @declare("DELETE", "/v3/roles/{role_id}", Access.ADMIN, "identity:delete_role", status=204)
    async def delete_role(call: Call) -> None:
        role_id = call.params["role_id"]
        _, accepted = await call.services.people.execute(
            call.context, lambda state: rules.delete_role(state, role_id)
        )
        await call.settle(accepted)


def _declare_users(declare: Operations, settings: RestSettings, directory: Directory) -> None:
    @declare("POST", "/v3/users", Access.ADMIN, "identity:create_user", body=UserBody, status=201)
    async def create_user(call: Call) -> Any:
        given: UserFields = call.body.user
        _check_place(given.domain_id, given.options)
        event = UserCreated(
            user_id=_new_id(call),
            name=_required("name", given.name),
            credential_version="",
            enabled=given.enabled is not False,
            email=_text(given.email) or "",
            description=_text(given.description) or "",
            default_project_id=_text(given.default_project_id) or "",
        )
        password = given.password or None
        _, accepted = await call.services.people.create_user(call.context, event, password)
        await call.settle(accepted)
        return {"user": user_document(settings, directory.user(event.user_id))}

    @declare("PATCH", "/v3/users/{user_id}", Access.ADMIN, "identity:update_user", body=UserBody)
    async def update_user(call: Call) -> Any:
        given: UserFields = call.body.user
        directory.user(call.params["user_id"])
        _check_place(given.domain_id, given.options)
        if given.password is None:
            raise not_implemented("Taking away a user's password")
        if given.password is not UNSET and call.identified.restricted:
            # It could make itself free by it.
            raise forbidden("identity:update_user")
        event = UserChanged(
            user_id=call.params["user_id"],
            name=_given(given.name),
            enabled=_given(given.enabled),
            email=_text(given.email),
            description=_text(given.description),
            default_project_id=_text(given.default_project_id),
        )
        _, accepted = await call.services.people.change_user(call.context, event, _given(given.password))
        await call.settle(accepted)
        return {"user": user_document(settings, directory.user(event.user_id))}

    @declare("DELETE", "/v3/users/{user_id}", Access.ADMIN, "identity:delete_user", status=204)
    async def delete_user(call: Call) -> None:
        await call.settle(await call.services.people.delete_user(call.context, call.params["user_id"]))


def _new_id(call: Call) -> str:
    return call.services.stamp.ids.uuid().replace("-", "")


def _given(value: Any) -> Any:
    """None where nothing was said, which then stays as it is."""
    return None if value is UNSET else value


def _text(value: str | UnsetType | None) -> str | None:
    """None where nothing was said; null empties it."""
    return None if value is UNSET else value or ""


def _required(field: str, value: str | UnsetType) -> str:
    if value is UNSET:
        raise Invalid(f"'{field}' is a required property")
    return value


def _check_place(domain_id: str | UnsetType | None, options: dict[str, Any] | UnsetType) -> None:
    """There is one domain."""
    if domain_id not in (UNSET, None, DOMAIN_ID):
        raise Refused(
            "domain.only_one", f"This identity service has one domain only, which is {DOMAIN_ID}.", status=403
        )
    if options:
        raise not_implemented(f"The option {next(iter(options))}")


def _check_role(domain_id: str | UnsetType | None, options: dict[str, Any] | UnsetType) -> None:
    if domain_id not in (UNSET, None):
        raise not_implemented("A role of a domain")
    if options:
        raise not_implemented(f"The option {next(iter(options))}")
