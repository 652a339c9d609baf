"""Revoked tokens: recorded in the log of the API cell, and known to every process that judges by tokens."""

import asyncio
from contextlib import aclosing
from datetime import datetime

from domain.errors import Refused
from domain.log.kind import unfoldable
from domain.neighbours import token
from domain.neighbours.token import RevokedToken, TokenRevoked
from handlers.allowances import Allowances
from handlers.context import Context, Stamp
from handlers.log.disorder import Disorder
from handlers.log.repository import NEVER_WAS, Repository
from handlers.ports import EventStore

AT_ONCE, PER_SECOND = 100, 0.5
"""How many tokens one user may revoke. Each is an event for ever, and a token made of a token costs nothing."""
RETRY_AFTER = 2
"""Seconds."""


class Revocations:
    """The tokens that are void before their time. Those whose time has come are forgotten: they are void anyway."""

    def __init__(self, store: EventStore, stamp: Stamp, disorder: Disorder | None = None) -> None:
        """``store`` is the API cell's."""
        self._disorder = disorder or Disorder()
        self._store = store
        self._clock = stamp.clock
        self._tokens: Repository[RevokedToken] = Repository(token.KIND, store, stamp)
        self._allowed = Allowances(stamp.clock, AT_ONCE, PER_SECOND)
        self._until: dict[str, datetime] = {}
        """By audit id, until when it must be known."""
        self._caught_up = asyncio.Event()

    async def run(self) -> None:
        """Follow the log until cancelled."""
        async with aclosing(self._store.follow(0, token.KIND.name)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for recorded in batch:
                    if isinstance(recorded.event, TokenRevoked):
                        self._take(recorded.aggregate.id, recorded.event.expires_at)
                    else:
                        self._disorder.note(recorded.aggregate, unfoldable(recorded.event))
                if not batch:
                    self._caught_up.set()

    async def ready(self) -> None:
        """Wait until everything that was in the log at the start has been read."""
        await self._caught_up.wait()

    def revoked(self, audit_id: str) -> bool:
        """Whether the token of that audit id is void."""
        return audit_id in self._until

    async def revoke(self, context: Context, audit_id: str, user_id: str, expires_at: datetime) -> None:
        """Make a token void; here at once, elsewhere within moments. Raises Unavailable, and Refused (429) if the
        caller has revoked too many."""
        if not self._allowed.take(context.user_id or ""):
            raise Refused("token.too_many", "Too many tokens were revoked.", status=429, retry_after=RETRY_AFTER)
        aggregate = token.aggregate(audit_id)
        await self._tokens.execute(
            context, aggregate, lambda state: token.revoke(state, user_id, expires_at), known=NEVER_WAS
        )
        self._take(audit_id, expires_at)

    def _take(self, audit_id: str, expires_at: datetime) -> None:
        now = self._clock.now()
        if expires_at > now:
            self._until = {known: until for known, until in self._until.items() if until > now}
            self._until[audit_id] = expires_at
