"""Reading users, projects, domains, roles, services and endpoints; and version discovery."""

from collections.abc import Callable
from typing import Any

from adapters.rest.identity.catalogue import SERVICES
from adapters.rest.identity.directory import DOMAIN_ID, DOMAIN_NAME, Directory
from adapters.rest.identity.documents import (
    Document,
    base,
    domain_document,
    endpoint_documents,
    listing,
    project_document,
    region_document,
    role_document,
    service_document,
    user_document,
)
from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.settings import RestSettings
from domain.errors import Refused, not_found

FALSE = ("0", "f", "false", "off", "n", "no")
"""What says no in a query; all else is yes."""
COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "": lambda has, value: has == value,
    "contains": lambda has, value: value in has,
    "icontains": lambda has, value: value.lower() in has.lower(),
    "startswith": lambda has, value: has.startswith(value),
    "istartswith": lambda has, value: has.lower().startswith(value.lower()),
    "endswith": lambda has, value: has.endswith(value),
    "iendswith": lambda has, value: has.lower().endswith(value.lower()),
}
"""How an attribute is compared, by what stands behind its name and ``__``."""


def discovery(settings: RestSettings) -> Operations:
    """``GET /`` and ``GET /v3``."""
    declare = Operations()
    version = {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{base(settings)}/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }

    @declare("GET", "/", Access.PUBLIC, "identity:versions", status=300)
    async def versions(_call: Call) -> Any:
        return {"versions": {"values": [version]}}

    @declare("GET", "/v3", Access.PUBLIC, "identity:version")
    async def show_version(_call: Call) -> Any:
        return {"version": version}

    return declare


def operations(settings: RestSettings, directory: Directory) -> Operations:
    """Users and projects: administrators see all of them, others themselves."""
    declare = Operations()

    @declare("GET", "/v3/users", Access.ADMIN, "identity:list_users")
    async def list_users(call: Call) -> Any:
        documents = [user_document(settings, user) for user in directory.users.values()]
        return listing(settings, "users", _filtered(call, documents))

    @declare("GET", "/v3/users/{user_id}", Access.TOKEN, "identity:get_user")
    async def show_user(call: Call) -> Any:
        user_id = call.params["user_id"]
        if user_id != call.context.user_id:
            _only_admin(call, "identity:get_user")
        return {"user": user_document(settings, directory.user(user_id))}

    @declare("GET", "/v3/users/{user_id}/projects", Access.TOKEN, "identity:list_user_projects")
    async def list_user_projects(call: Call) -> Any:
        user_id = call.params["user_id"]
        if user_id != call.context.user_id:
            _only_admin(call, "identity:list_user_projects")
        own = [directory.project(each) for each in directory.user(user_id).roles]
        return listing(settings, "projects", [project_document(settings, project) for project in own])

    @declare("GET", "/v3/projects", Access.ADMIN, "identity:list_projects")
    async def list_projects(call: Call) -> Any:
        documents = [project_document(settings, project) for project in directory.projects.values()]
        return listing(settings, "projects", _filtered(call, documents))

    @declare("GET", "/v3/projects/{project_id}", Access.TOKEN, "identity:get_project")
    async def show_project(call: Call) -> Any:
        project_id = call.params["project_id"]
        if project_id != call.context.project_id:
            _only_admin(call, "identity:get_project")
        return {"project": project_document(settings, directory.project(project_id))}

    for collection, member, documents in (
        ("roles", "role", lambda: [role_document(settings, role) for role in directory.known_roles.values()]),
        ("regions", "region", lambda: [region_document(settings)]),
        ("services", "service", lambda: [service_document(settings, each) for each in SERVICES]),
        ("endpoints", "endpoint", lambda: endpoint_documents(settings)),
    ):
        _declare_collection(declare, settings, collection, member, documents)

    _declare_domains(declare, settings)
    return declare


def _declare_collection(
    declare: Operations,
    settings: RestSettings,
    collection: str,
    member: str,
    documents: Callable[[], list[Document]],
) -> None:
    @declare("GET", f"/v3/{collection}", Access.ADMIN, f"identity:list_{collection}")
    async def list_all(call: Call) -> Any:
        return listing(settings, collection, _filtered(call, documents()))

    @declare("GET", f"/v3/{collection}/{{{member}_id}}", Access.ADMIN, f"identity:get_{member}")
    async def show(call: Call) -> Reply:
        identifier = call.params[f"{member}_id"]
        for document in documents():
            if document["id"] == identifier:
                return Reply({member: document})
        raise not_found(member.capitalize(), identifier)


def _declare_domains(declare: Operations, settings: RestSettings) -> None:
    @declare("GET", "/v3/domains", Access.ADMIN, "identity:list_domains")
    async def list_domains(call: Call) -> Any:
        return listing(settings, "domains", _filtered(call, [domain_document(settings)]))

    @declare("GET", "/v3/domains/{domain_id}", Access.TOKEN, "identity:get_domain")
    async def show_domain(call: Call) -> Any:
        if call.params["domain_id"] not in (DOMAIN_ID, DOMAIN_NAME):
            raise not_found("Domain", call.params["domain_id"])
        return {"domain": domain_document(settings)}


def _filtered(call: Call, documents: list[Document]) -> list[Document]:
    """Those that have every value asked for in the query string. What it names that none of them has is no filter."""
    wanted = [(*name.partition("__")[::2], value) for name, value in call.query.items()]
    known = {name for document in documents for name in document}
    tests = [(name, how, value) for name, how, value in wanted if name in known and how in COMPARISONS]
    return [document for document in documents if all(_fits(document.get(name), *test) for name, *test in tests)]


def _fits(has: Any, how: str, value: str) -> bool:
    if isinstance(has, bool):
        return has is (value.lower() not in FALSE)
    return COMPARISONS[how](str(has), value)


def _only_admin(call: Call, rule: str) -> None:
    if not call.is_admin:
        raise Refused("forbidden", f"You are not authorized to perform the requested action: {rule}.", status=403)
