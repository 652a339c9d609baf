"""Logging in: tokens by password or from another token, their validation and revocation."""

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from adapters.rest.identity.catalogue import catalogue
from adapters.rest.identity.directory import DOMAIN_ID, DOMAIN_NAME, Directory
from adapters.rest.identity.documents import listing, project_document
from adapters.rest.identity.tokens import Tokens
from adapters.rest.kit.caller import Caller
from adapters.rest.kit.errors import unauthorized
from adapters.rest.kit.operation import Access, Call, Operations, Reply, empty
from adapters.rest.kit.request_log import told
from adapters.rest.kit.settings import ApplicationCredential, Project, RestSettings, User
from adapters.rest.kit.validation import Text255
from domain.errors import Invalid, Refused

SUBJECT = "X-Subject-Token"

Secret = Annotated[str, msgspec.Meta(max_length=4096)]
"""A password or a token; Keystone's max_password_length."""


class DomainRef(msgspec.Struct):
    """A domain, by id or name."""

    id: Text255 | None = None
    name: Text255 | None = None


class UserRef(msgspec.Struct):
    """Who logs in."""

    password: Secret
    id: Text255 | None = None
    name: Text255 | None = None
    domain: DomainRef | None = None


class Password(msgspec.Struct):
    """The password method's part."""

    user: UserRef


class TokenRef(msgspec.Struct):
    """The token method's part."""

    id: Secret


class OwnerRef(msgspec.Struct):
    """Whose application credential it is."""

    id: Text255 | None = None
    name: Text255 | None = None
    domain: DomainRef | None = None


class ProgramRef(msgspec.Struct):
    """The application credential, by its id, or by its name and its user."""

    secret: Secret
    id: Text255 | None = None
    name: Text255 | None = None
    user: OwnerRef | None = None


class Identity(msgspec.Struct):
    """How the caller proves who they are."""

    methods: list[Literal["password", "token", "application_credential"]]
    password: Password | None = None
    token: TokenRef | None = None
    application_credential: ProgramRef | None = None


class Proven(NamedTuple):
    """What a caller has shown."""

    user: User
    until: datetime | None = None
    """When the proof itself ends."""
    program: ApplicationCredential | None = None
    """By which the caller acts; None for the user's own."""


class ProjectRef(msgspec.Struct):
    """A project, by id, or by name and domain."""

    id: Text255 | None = None
    name: Text255 | None = None
    domain: DomainRef | None = None


class Scope(msgspec.Struct):
    """What the token is to be for."""

    project: ProjectRef | None = None
    domain: DomainRef | None = None
    system: dict[Text255, Any] | None = None


class Auth(msgspec.Struct):
    """The request for a token."""

    identity: Identity
    scope: Scope | Literal["unscoped"] | None = None


class AuthBody(msgspec.Struct):
    """``{"auth": …}``."""

    auth: Auth


def operations(settings: RestSettings, directory: Directory, tokens: Tokens) -> Operations:
    """The operations of /v3/auth."""
    declare = Operations()

    @declare("POST", "/v3/auth/tokens", Access.PUBLIC, "identity:authenticate", body=AuthBody, status=201)
    async def authenticate(call: Call) -> Reply:
        auth: Auth = call.body.auth
        user, until, program = await _identify(call, auth.identity, directory, tokens)
        project = (
            _scope_of_program(auth.scope, program, directory) if program else _scope(auth.scope, user, directory)
        )
        methods = tuple(auth.identity.methods)
        token, caller = tokens.issue(user, project, methods, until, program.id if program else None)
        listed = "nocatalog" not in call.query
        return Reply(
            _document(caller, settings, directory, listed=listed), headers={SUBJECT: token, "Vary": "X-Auth-Token"}
        )

    @declare("GET", "/v3/auth/tokens", Access.TOKEN, "identity:validate_token")
    async def validate(call: Call) -> Reply:
        token = _subject(call)
        caller = _validated(call, tokens, token)
        listed = "nocatalog" not in call.query
        return Reply(
            _document(caller, settings, directory, listed=listed), headers={SUBJECT: token, "Vary": "X-Auth-Token"}
        )

    @declare("HEAD", "/v3/auth/tokens", Access.TOKEN, "identity:check_token")
    async def check(call: Call) -> Any:
        token = _subject(call)
        _validated(call, tokens, token)
        return empty(200, {SUBJECT: token})

    @declare("DELETE", "/v3/auth/tokens", Access.TOKEN, "identity:revoke_token", status=204)
    async def revoke(call: Call) -> None:
        token = _subject(call)
        subject = _validated(call, tokens, token)
        if subject.user_id != call.context.user_id and not call.is_admin:
            raise Refused(
                "forbidden", "You are not authorized to perform the requested action: identity:revoke_token.",
                status=403,
            )  # fmt: skip
        revocations = call.services.revocations
        await revocations.revoke(call.context, subject.audit_id, subject.user_id, subject.expires_at)

    @declare("GET", "/v3/auth/catalog", Access.TOKEN, "identity:get_auth_catalog")
    async def get_catalog(_call: Call) -> Any:
        return {"catalog": catalogue(settings), "links": {"self": f"{settings.public_url}/identity/v3/auth/catalog"}}

    @declare("GET", "/v3/auth/projects", Access.TOKEN, "identity:get_auth_projects")
    async def get_projects(call: Call) -> Any:
        user = directory.user(call.identified.user_id)
        known = (directory.projects.get(each) for each in user.roles)
        own = [project_document(settings, project) for project in known if project and project.enabled]
        return listing(settings, "projects", own)

    return declare


def _subject(call: Call) -> str:
    token = call.headers.get(SUBJECT)
    if not token:
        raise Invalid("The X-Subject-Token header is missing.")
    return token


def _validated(call: Call, tokens: Tokens, token: str) -> Caller:
    """What a subject token says, to its own user, to services, and to administrators. An invalid one is not found, as
    the caller's own is valid."""
    try:
        subject = tokens.validate(token)
    except Refused:
        raise Refused("token.not_found", "Could not find token.", status=404) from None
    if subject.user_id != call.context.user_id and not {"admin", "service"}.intersection(call.context.roles):
        raise Refused(
            "forbidden", "You are not authorized to perform the requested action: identity:validate_token.",
            status=403,
        )  # fmt: skip
    return subject


async def _identify(call: Call, identity: Identity, directory: Directory, tokens: Tokens) -> Proven:
    if not identity.methods:
        raise unauthorized()
    proven: Proven | None = None
    client = call.scope.get("client")
    address = str(client[0]) if client else ""
    for method in identity.methods:
        if method == "password":
            found = await _by_password(call, identity.password, directory, address)
        elif method == "application_credential":
            found = await _by_program(call, identity.application_credential, directory, address)
        else:
            found = _by_token(identity.token, directory, tokens)
        if proven is not None and (proven.user is not found.user or proven.program != found.program):
            raise unauthorized()
        proven = found
    assert proven is not None
    return proven


async def _by_password(call: Call, shown: Password | None, directory: Directory, address: str) -> Proven:
    if shown is None:
        raise Invalid("'password' is a required property")
    given = shown.user
    _check_domain(given.domain)
    told(call.scope, given.id or given.name, None)
    return Proven(await directory.authenticate(given.id, given.name, given.password, address))


async def _by_program(call: Call, given: ProgramRef | None, directory: Directory, address: str) -> Proven:
    if given is None:
        raise Invalid("'application_credential' is a required property")
    owner = given.user or OwnerRef()
    if given.id is None and (given.name is None or given.user is None):
        raise Invalid("An application credential is named by its id, or by its name and its user.")
    _check_domain(owner.domain)
    told(call.scope, owner.id or owner.name or given.id, None)
    user, program = await directory.authenticate_program(
        given.id, owner.id, owner.name, given.name, given.secret, address
    )
    if program.expires_at and program.expires_at <= call.services.stamp.clock.now():
        raise unauthorized()
    return Proven(user, program.expires_at, program)


def _by_token(shown: TokenRef | None, directory: Directory, tokens: Tokens) -> Proven:
    if shown is None:
        raise Invalid("'token' is a required property")
    caller = tokens.validate(shown.id)
    user = directory.user(caller.user_id)
    program = user.application_credentials.get(caller.application_credential_id or "")
    return Proven(user, caller.expires_at, program)


def _scope_of_program(
    scope: Scope | str | None, program: ApplicationCredential, directory: Directory
) -> Project | None:
    """An application credential is for its project, whatever else is asked for."""
    if isinstance(scope, str):
        raise unauthorized()
    if scope is not None:
        if scope.project is None:
            raise unauthorized()
        _check_domain(scope.project.domain)
        wanted = directory.find_project(scope.project.id, scope.project.name)
        if wanted is None or wanted.id != program.project_id:
            raise unauthorized()
    project = directory.find_project(program.project_id, None)
    if project is None:
        raise unauthorized()
    return project


def _scope(scope: Scope | str | None, user: User, directory: Directory) -> Project | None:
    if scope is None:
        project = directory.find_project(user.default_project_id, None)
        return project if project and user.roles.get(project.id) else None
    if isinstance(scope, str):
        return None
    if scope.system is not None or scope.domain is not None:
        raise Refused(
            "scope.unsupported",
            "This identity service issues tokens for projects only, not for a domain or the system.",
            status=403,
        )
    if scope.project is None:
        raise Invalid("'project' is a required property")
    _check_domain(scope.project.domain)
    project = directory.find_project(scope.project.id, scope.project.name)
    if project is None or not user.roles.get(project.id):
        raise unauthorized()
    return project


def _check_domain(domain: DomainRef | None) -> None:
    """There is one domain."""
    if domain is None:
        return
    if domain.id not in (None, DOMAIN_ID) or domain.name not in (None, DOMAIN_NAME):
        raise unauthorized()


def _document(caller: Caller, settings: RestSettings, directory: Directory, *, listed: bool) -> dict[str, Any]:
    domain = {"id": DOMAIN_ID, "name": DOMAIN_NAME}
    token: dict[str, Any] = {
        "methods": list(caller.methods),
        "user": {"domain": domain, "id": caller.user_id, "name": caller.user_name, "password_expires_at": None},
        "audit_ids": [caller.audit_id],
        "issued_at": _time(caller.issued_at),
        "expires_at": _time(caller.expires_at),
    }
    if caller.application_credential_id:
        program = directory.user(caller.user_id).application_credentials[caller.application_credential_id]
        token["application_credential"] = {
            "id": program.id,
            "name": program.name,
            "restricted": not program.unrestricted,
        }
    if caller.project_id:
        token["project"] = {"domain": domain, "id": caller.project_id, "name": caller.project_name}
        token["is_domain"] = False
        token["roles"] = [{"id": directory.role_id(role), "name": role} for role in caller.roles]
        if listed:
            token["catalog"] = catalogue(settings)
    return {"token": token}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
