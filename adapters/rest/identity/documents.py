"""Users, projects, roles, services and the like as Keystone shows them."""

from typing import Any

from adapters.rest.identity.catalogue import INTERFACES, SERVICES, Service, stable_id
from adapters.rest.identity.directory import DOMAIN_ID, DOMAIN_NAME
from adapters.rest.kit.settings import ApplicationCredential, Project, RestSettings, Role, User

Document = dict[str, Any]


def base(settings: RestSettings) -> str:
    """Where the v3 API is."""
    return f"{settings.public_url}/identity/v3"


def listing(settings: RestSettings, collection: str, documents: list[Document], path: str | None = None) -> Document:
    """A whole collection; there is no paging in Keystone. ``path`` is where it is, if not at the root."""
    links = {"self": f"{base(settings)}/{path or collection}", "previous": None, "next": None}
    return {collection: documents, "links": links}


def _links(settings: RestSettings, collection: str, identifier: str) -> dict[str, str]:
    return {"self": f"{base(settings)}/{collection}/{identifier}"}


def user_document(settings: RestSettings, user: User) -> Document:
    document: Document = {
        "id": user.id,
        "name": user.name,
        "domain_id": DOMAIN_ID,
        "enabled": user.enabled,
        "password_expires_at": None,
        "options": {},
        "links": _links(settings, "users", user.id),
    }
    if user.email:
        document["email"] = user.email
    if user.description:
        document["description"] = user.description
    if user.default_project_id:
        document["default_project_id"] = user.default_project_id
    return document


def project_document(settings: RestSettings, project: Project) -> Document:
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": DOMAIN_ID,
        "parent_id": DOMAIN_ID,
        "description": project.description,
        "enabled": project.enabled,
        "is_domain": False,
        "options": {},
        "tags": list(project.tags),
        "links": _links(settings, "projects", project.id),
    }


def application_credential_document(
    settings: RestSettings, user_id: str, credential: ApplicationCredential, roles: list[Document]
) -> Document:
    ends = credential.expires_at
    return {
        "id": credential.id,
        "name": credential.name,
        "description": credential.description or None,
        "project_id": credential.project_id,
        "user_id": user_id,
        "roles": roles,
        "expires_at": ends and ends.strftime("%Y-%m-%dT%H:%M:%S.%f"),
        "unrestricted": credential.unrestricted,
        "system": None,
        "links": _links(settings, f"users/{user_id}/application_credentials", credential.id),
    }


def domain_document(settings: RestSettings) -> Document:
    """The one domain."""
    return {
        "id": DOMAIN_ID,
        "name": DOMAIN_NAME,
        "description": "The default domain",
        "enabled": True,
        "options": {},
        "tags": [],
        "links": _links(settings, "domains", DOMAIN_ID),
    }


def role_document(settings: RestSettings, role: Role) -> Document:
    return {
        "id": role.id,
        "name": role.name,
        "domain_id": None,
        "description": role.description or None,
        "options": {},
        "links": _links(settings, "roles", role.id),
    }


def region_document(settings: RestSettings) -> Document:
    """The one region."""
    return {
        "id": settings.region,
        "description": "",
        "parent_region_id": None,
        "links": _links(settings, "regions", settings.region),
    }


def service_document(settings: RestSettings, service: Service) -> Document:
    """A service of the catalogue."""
    identifier = stable_id("service", service.type)
    return {
        "id": identifier,
        "type": service.type,
        "name": service.name,
        "description": "",
        "enabled": True,
        "links": _links(settings, "services", identifier),
    }


def endpoint_documents(settings: RestSettings) -> list[Document]:
    return [
        {
            "id": stable_id("endpoint", service.type, interface),
            "service_id": stable_id("service", service.type),
            "interface": interface,
            "region": settings.region,
            "region_id": settings.region,
            "url": service.url(settings),
            "enabled": True,
            "links": _links(settings, "endpoints", stable_id("endpoint", service.type, interface)),
        }
        for service in SERVICES
        for interface in INTERFACES
    ]
