"""Seeing to it that a guest which leaves does so in the way that is wanted: at its source, while it is sent."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from adapters.libvirt.live_migration import ABORTED, LiveMigrations, Migration, Report
from domain.errors import HostFailed, Unavailable
from domain.server.moves.orders import ABORT, Order, Orders

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
FORCED_SECONDS = 300.0
"""A guest that is made to come stands still, or depends on two hosts: if it is not there by then it stays."""


class Steering:
    """One migration, with what is wanted of it."""

    def __init__(self, leaving: LiveMigrations, migration: Migration, orders: Callable[[], Orders]) -> None:
        self._leaving = leaving
        self._migration = migration
        self._orders = orders
        self._forced_at: float | None = None

    async def run(self) -> Report | None:
        """Wait for its end; see LiveMigrations.run."""
        sending = asyncio.create_task(self._leaving.run(self._migration))
        while True:
            await asyncio.wait({sending}, timeout=LOOK_SECONDS)
            if sending.done():
                return await sending
            due = self._orders().due(datetime.now(UTC))
            if due and self._leaving.waits(self._migration.server_id):
                sending.cancel()
                raise HostFailed(ABORTED, "it had not begun")
            if due:
                await self._obey(due)

    async def _obey(self, due: Order) -> None:
        """Again and again: what comes at the wrong moment may fail, and what has been done does no harm."""
        now = asyncio.get_running_loop().time()
        server_id = self._migration.server_id
        try:
            if due == ABORT or (self._forced_at and now - self._forced_at > FORCED_SECONDS):
                await self._leaving.abort(server_id)
            elif await self._leaving.complete(server_id, post_copy=self._migration.post_copy):
                self._forced_at = self._forced_at or now
        except (HostFailed, Unavailable) as error:
            log.info("server %s: %s is not taken now: %s %s", server_id, due, error, getattr(error, "details", ""))
