"""The embedded identity's projects, users and roles: kept in the log of the API cell, and held in memory by every
process that judges by them."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime

from msgspec.structs import replace

from domain.errors import Refused
from domain.log.record import Event, Recorded
from domain.neighbours.identity import rules
from domain.neighbours.identity.events import ApplicationCredentialCreated, UserChanged, UserCreated
from domain.neighbours.identity.rules import Configuration
from domain.neighbours.identity.state import DOMAIN, KIND, Identity, User
from handlers.accepted import Accepted
from handlers.context import Context, Stamp
from handlers.log.registry import Registry
from handlers.ports import Vault

Hash = Callable[[str], Awaitable[str]]
"""Makes of a password what is kept of it."""
Listener = Callable[[Identity, str | None], None]
Decide = Callable[[Identity | None], Event | None]


def owner(user_id: str) -> str:
    """Whose key seals a user's secrets; a user's keypairs have another."""
    return f"identity-{user_id}"


class People:
    """What there is in the embedded identity's domain."""

    def __init__(self, registry: Registry, vault: Vault, stamp: Stamp, hashed: Hash) -> None:
        """``registry`` is the API cell's, and holds ``KIND``; ``vault`` has the keys of the same cell."""
        self._registry = registry
        self._vault = vault
        self._stamp = stamp
        self._hashed = hashed
        self._listeners: list[Listener] = []
        self._hashing: set[str] = set()
        """Users for whom a hash is being made because they asked for it."""
        self._ready = False
        self._one_at_a_time = asyncio.Lock()
        """All changes are of one aggregate: those of this process need not take turns by conflicts."""
        registry.listen(self._heard)

    @property
    def state(self) -> Identity | None:
        """None if nothing was ever recorded."""
        return self._registry.of(KIND, DOMAIN.id)

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with the state after each change, and with the id of the user who alone is another, if
        there is such a one; once at the start."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Wait until everything that was in the log at the start has been read, and tell it."""
        await self._registry.ready()
        self._ready = True
        self._tell(None)

    async def configure(self, file: Configuration) -> bool:
        """Take what is new in the configuration file, whose passwords are hashes; whether there was anything. Raises
        Unavailable."""
        if rules.configure(self.state, file) is None:
            return False
        users = [
            replace(user, password=await self._vault.seal(owner(user.user_id), user.password.encode()))
            for user in file.users
        ]
        sealed = replace(file, users=tuple(users))
        _, accepted = await self.execute(self._stamp.own_context(), lambda state: rules.configure(state, sealed))
        return accepted.position > 0

    async def execute(
        self, context: Context, decide: Decide, user_id: str | None = None
    ) -> tuple[Identity, Accepted]:
        """Decide and append; the state after. ``user_id`` is who alone is another then. Raises Unavailable, and what
        ``decide`` raises."""
        async with self._one_at_a_time:
            state, accepted = await self._registry.execute(context, DOMAIN, decide)
        if accepted.position and self._ready:
            self._tell(user_id)
        return state, accepted

    async def create_user(self, context: Context, event: UserCreated, password: str | None) -> tuple[User, Accepted]:
        rules.create_user(self.state, event)  # before anything costs anything
        sealed = None if password is None else await self._sealed(event.user_id, password)
        event = replace(event, password=sealed, credential_version=_version())
        state, accepted = await self.execute(context, lambda state: rules.create_user(state, event), event.user_id)
        return state.users[event.user_id], accepted

    async def change_user(self, context: Context, event: UserChanged, password: str | None) -> tuple[User, Accepted]:
        rules.change_user(self.state, event)
        if event.enabled is False and rules.user_of(self.state, event.user_id).enabled:
            # Tokens of before are not good again when the user is enabled again.
            event = replace(event, credential_version=_version())
        if password is not None:
            sealed = await self._sealed(event.user_id, password)
            event = replace(event, password=sealed, credential_version=_version())
        state, accepted = await self.execute(context, lambda state: rules.change_user(state, event), event.user_id)
        return state.users[event.user_id], accepted

    async def change_password(self, context: Context, user_id: str, was: str, password: str) -> Accepted:
        """Another password for who has shown the one of version ``was``. Raises Refused (409), see the rule."""
        rules.change_password(self.state, user_id, was, "", "")
        sealed = await self._sealed_for_own(user_id, password)
        version = _version()
        _, accepted = await self.execute(
            context, lambda state: rules.change_password(state, user_id, was, sealed, version), user_id
        )
        return accepted

    async def delete_user(self, context: Context, user_id: str) -> Accepted:
        """The key of the user's secrets goes, too: they are unreadable for ever. Where the process died before that,
        it is done by whoever asks again, and is told that there is no such user."""
        try:
            _, accepted = await self.execute(context, lambda state: rules.delete_user(state, user_id), user_id)
        except Refused as refusal:
            if refusal.status == 404:
                await self._vault.destroy(owner(user_id))
            raise
        await self._vault.destroy(owner(user_id))
        return accepted

    async def create_application_credential(
        self, context: Context, event: ApplicationCredentialCreated, secret: str
    ) -> Accepted:
        rules.create_application_credential(self.state, event, self._now())
        event = replace(event, secret=await self._sealed_for_own(event.user_id, secret))
        _, accepted = await self.execute(
            context,
            lambda state: rules.create_application_credential(state, event, self._now()),
            event.user_id,
        )
        return accepted

    async def opened(self, user_id: str, sealed: str) -> str:
        """The hash that was sealed for a user; empty if its key was destroyed. Raises Unavailable."""
        found = await self._vault.unseal(owner(user_id), sealed)
        return "" if found is None else found.decode()

    async def _sealed_for_own(self, user_id: str, password: str) -> str:
        """What users do for themselves, one thing at a time: hashes take long, and log-ins wait for the same thread.
        Raises Refused (429)."""
        if user_id in self._hashing:
            message = "Another password or secret of this user is being made."
            raise Refused("identity.busy", message, status=429, retry_after=1)
        self._hashing.add(user_id)
        try:
            return await self._sealed(user_id, password)
        finally:
            self._hashing.discard(user_id)

    async def _sealed(self, user_id: str, password: str) -> str:
        return await self._vault.seal(owner(user_id), (await self._hashed(password)).encode())

    def _heard(self, recorded: Recorded) -> None:
        if recorded.aggregate == DOMAIN and self._ready:
            self._tell(getattr(recorded.event, "user_id", None))

    def _tell(self, user_id: str | None) -> None:
        for listener in self._listeners:
            listener(self.state or Identity(), user_id)

    def _now(self) -> datetime:
        return self._stamp.clock.now()


def _version() -> str:
    return secrets.token_hex(8)
