"""Tokens: stateless, encrypted, checked without asking anybody.

A token is AES-256-GCM over a small document (user, project, times), so that any worker that has the key can
read it and nobody else can read or change it. What it lets its bearer do is looked up in the directory at each
use: a removed user, role or project, or a changed password, ends its tokens. A revoked one is known by its audit id.
"""

import base64
import os
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.rest.identity.directory import Directory, effective_roles, version_of, with_implied
from adapters.rest.kit.caller import Caller
from adapters.rest.kit.errors import unauthorized
from adapters.rest.kit.settings import ApplicationCredential, IdentitySettings, Project, User
from handlers.ports import Clock

KEY_BYTES = 32
NONCE_BYTES = 12
MAX_CACHED = 4096

Revoked = Callable[[str], bool]
"""Whether the token of an audit id was revoked."""


class _Claims(msgspec.Struct, array_like=True, frozen=True):
    user_id: str
    project_id: str | None
    methods: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    audit_id: str
    fingerprint: str
    """Of the user's password: another password ends the token."""
    application_credential_id: str | None = None
    """By which it was made: it ends with that."""


_decoder = msgspec.msgpack.Decoder(_Claims)


def load_or_create_key(path: Path) -> bytes:
    """The key in the file; if there is none, a new one that only its owner can read."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        key = secrets.token_bytes(KEY_BYTES)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(key)
        try:
            os.link(unfinished, path)  # the first of several workers wins, and nobody reads half a key
        except FileExistsError:
            key = path.read_bytes()
        finally:
            unfinished.unlink()
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} is not a token key: it has {len(key)} bytes and should have {KEY_BYTES}")
    return key


class Tokens:
    """Issues and validates tokens."""

    def __init__(
        self, settings: IdentitySettings, directory: Directory, clock: Clock, revoked: Revoked = lambda _: False
    ) -> None:
        self._ciphers = [AESGCM(key) for key in settings.token_keys or (secrets.token_bytes(KEY_BYTES),)]
        self._life = settings.token_life
        self._directory = directory
        self._clock = clock
        self._cache: dict[str, _Claims] = {}
        """What was read from tokens; never what it means, which may change."""
        self._revoked = revoked

    def issue(
        self, user: User, project: Project | None, methods: tuple[str, ...], until: datetime | None = None,
        program: str | None = None,
    ) -> tuple[str, Caller]:  # fmt: skip
        """A token for a user in a project, with what it says. ``until`` bounds its life further; ``program`` is the
        id of the application credential by which it is asked for."""
        now = self._clock.now()
        claims = _Claims(
            user.id,
            project.id if project else None,
            methods,
            now,
            min(now + self._life, until) if until else now + self._life,
            secrets.token_urlsafe(16),
            _fingerprint(user),
            program,
        )
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + self._ciphers[0].encrypt(nonce, msgspec.msgpack.encode(claims), None)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode(), self._caller(claims)

    def validate(self, token: str | None) -> Caller:
        """What a token says; raises Refused (401) if it is missing, forged, expired or revoked."""
        if not token:
            raise unauthorized()
        claims = self._cache.get(token)
        if claims is None:
            claims = self._open(token)
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[token] = claims
        if claims.expires_at <= self._clock.now() or self._revoked(claims.audit_id):
            self._cache.pop(token, None)
            raise unauthorized()
        return self._caller(claims)

    def _open(self, token: str) -> _Claims:
        try:
            sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            raise unauthorized() from None
        for cipher in self._ciphers:
            try:
                return _decoder.decode(cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None))
            except (InvalidTag, ValueError, msgspec.DecodeError):
                continue
        raise unauthorized()

    def _caller(self, claims: _Claims) -> Caller:
        user = self._directory.users.get(claims.user_id)
        project = self._directory.find_project(claims.project_id, None) if claims.project_id else None
        if user is None or not user.enabled or _fingerprint(user) != claims.fingerprint:
            raise unauthorized()
        if claims.project_id and not (project and user.roles.get(claims.project_id)):
            raise unauthorized()
        program: ApplicationCredential | None = None
        roles = effective_roles(user, claims.project_id)
        if claims.application_credential_id:
            program = user.application_credentials.get(claims.application_credential_id)
            roles = _of_program(user, program)
        return Caller(
            user_id=user.id,
            user_name=user.name,
            project_id=claims.project_id,
            project_name=project.name if project else None,
            roles=roles,
            methods=claims.methods,
            issued_at=claims.issued_at,
            expires_at=claims.expires_at,
            audit_id=claims.audit_id,
            application_credential_id=program.id if program else None,
            restricted=program is not None and not program.unrestricted,
        )


def _of_program(user: User, program: ApplicationCredential | None) -> tuple[str, ...]:
    """The roles that an application credential has now; raises Refused (401) if there are none, or it is gone."""
    held = effective_roles(user, program.project_id) if program else ()
    roles = with_implied(role for role in (program.roles if program else ()) if role in held)
    if not roles:
        raise unauthorized()
    return roles


def _fingerprint(user: User) -> str:
    return user.credential_version or version_of(user.password_hash or "")
