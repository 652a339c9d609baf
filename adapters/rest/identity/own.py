"""What users do with their own: the password, and application credentials, by which programs act for them.
https://docs.openstack.org/api-ref/identity/v3/#application-credentials"""

import secrets
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from adapters.rest.identity.bodies import (
    ApplicationCredentialBody,
    NewApplicationCredential,
    NewPassword,
    PasswordBody,
    RoleRef,
)
from adapters.rest.identity.directory import Directory
from adapters.rest.identity.documents import Document, application_credential_document, listing
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.policy import forbidden
from adapters.rest.kit.request_log import told
from adapters.rest.kit.settings import ApplicationCredential, RestSettings, User
from domain.errors import Invalid, Refused, not_found
from domain.neighbours.identity import rules
from domain.neighbours.identity.events import ApplicationCredentialCreated

CREDENTIALS = "/v3/users/{user_id}/application_credentials"


def operations(settings: RestSettings, directory: Directory) -> Operations:
    declare = Operations()

    @declare("POST", "/v3/users/{user_id}/password", Access.PUBLIC, "identity:change_password", body=PasswordBody,
             status=204)  # fmt: skip
    async def change_password(call: Call) -> None:
        given: NewPassword = call.body.user
        client = call.scope.get("client")
        address = str(client[0]) if client else ""
        told(call.scope, call.params["user_id"], None)
        user = await directory.authenticate(call.params["user_id"], None, given.original_password, address)
        if given.password == given.original_password:
            raise Invalid("The new password must not be the present one.")
        people = call.services.people
        context = replace(call.context, user_id=user.id)
        await call.settle(await people.change_password(context, user.id, user.credential_version, given.password))

    @declare("POST", CREDENTIALS, Access.TOKEN, "identity:create_application_credential",
             body=ApplicationCredentialBody, status=201)  # fmt: skip
    async def create(call: Call) -> Any:
        given: NewApplicationCredential = call.body.application_credential
        user = _own(call, directory, "identity:create_application_credential")
        project_id = call.context.project_id
        if project_id is None:
            raise Invalid("An application credential is made with a token for a project.")
        if given.access_rules:
            raise not_implemented("An application credential with access rules")
        if given.project_id not in (None, project_id):
            raise forbidden("identity:create_application_credential")
        role_ids = _role_ids(call, directory, given.roles)
        if not set(role_ids) <= set(_role_ids(call, directory, None)):
            # Whoever acts with less than the user holds does not get more by it.
            raise Invalid("Invalid application credential: it asks for a role that the token does not have.")
        secret = given.secret or secrets.token_urlsafe(64)
        event = ApplicationCredentialCreated(
            user_id=user.id,
            credential_id=call.services.stamp.ids.uuid().replace("-", ""),
            name=given.name,
            project_id=project_id,
            role_ids=role_ids,
            secret="",
            description=given.description or "",
            expires_at=_moment(given.expires_at),
            unrestricted=bool(given.unrestricted),
        )
        await call.settle(await call.services.people.create_application_credential(call.context, event, secret))
        made = directory.user(user.id).application_credentials[event.credential_id]
        return {"application_credential": _document(settings, directory, user, made) | {"secret": secret}}

    @declare("GET", CREDENTIALS, Access.TOKEN, "identity:list_application_credentials")
    async def list_own(call: Call) -> Any:
        user = _seen(call, directory, "identity:list_application_credentials")
        name = call.query.get("name")
        shown = [
            _document(settings, directory, user, each)
            for each in user.application_credentials.values()
            if name in (None, each.name)
        ]
        return listing(settings, "application_credentials", shown, f"users/{user.id}/application_credentials")

    @declare("GET", CREDENTIALS + "/{credential_id}", Access.TOKEN, "identity:get_application_credential")
    async def show(call: Call) -> Any:
        user = _seen(call, directory, "identity:get_application_credential")
        found = user.application_credentials.get(call.params["credential_id"])
        if found is None:
            raise not_found("Application_credential", call.params["credential_id"])
        return {"application_credential": _document(settings, directory, user, found)}

    @declare("DELETE", CREDENTIALS + "/{credential_id}", Access.TOKEN, "identity:delete_application_credential",
             status=204)  # fmt: skip
    async def delete(call: Call) -> None:
        rule = "identity:delete_application_credential"
        user = _seen(call, directory, rule)
        _check_unrestricted(call, rule)
        credential_id = call.params["credential_id"]
        _, accepted = await call.services.people.execute(
            call.context, lambda state: rules.delete_application_credential(state, user.id, credential_id), user.id
        )
        await call.settle(accepted)

    return declare


def _own(call: Call, directory: Directory, rule: str) -> User:
    """The caller; nobody makes any for somebody else."""
    if call.params["user_id"] != call.context.user_id:
        raise forbidden(rule)
    _check_unrestricted(call, rule)
    return directory.user(call.params["user_id"])


def _seen(call: Call, directory: Directory, rule: str) -> User:
    """The user in the path: administrators see everybody's."""
    if call.params["user_id"] != call.context.user_id and not call.is_admin:
        raise forbidden(rule)
    return directory.user(call.params["user_id"])


def _check_unrestricted(call: Call, rule: str) -> None:
    if call.identified.restricted:
        raise Refused(
            "application_credential.restricted",
            f"You are not authorized to perform the requested action: {rule}. The application credential is "
            "restricted.",
            status=403,
        )


def _role_ids(call: Call, directory: Directory, wanted: list[RoleRef] | None) -> tuple[str, ...]:
    """Those that the token has, where none are named."""
    if wanted is None or not wanted:
        found = [directory.role_id(name) for name in call.context.roles]
        return tuple(role_id for role_id in found if role_id in directory.known_roles)
    named: dict[str, None] = {}
    for role in wanted:
        if role.id is UNSET and role.name is UNSET:
            raise Invalid("Invalid input for field 'roles': each has an id or a name.")
        role_id = directory.role_id(str(role.name)) if role.id is UNSET else str(role.id)
        named[directory.role(role_id).id] = None
    return tuple(named)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"Invalid input for field 'expires_at': {text!r} is not a time (ISO 8601).") from None


def _document(settings: RestSettings, directory: Directory, user: User, made: ApplicationCredential) -> Document:
    roles = [{"id": directory.role_id(name), "name": name, "domain_id": None} for name in made.roles]
    return application_credential_document(settings, user.id, made, roles)
