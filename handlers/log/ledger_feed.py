"""A cell's ledger in this process's memory: from its snapshot, then from the log."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from domain.log.record import Recorded
from domain.placement import ledger, ledger_snapshot
from domain.placement.ledger import Ledger, LedgerChanged
from handlers.context import Stamp
from handlers.log.catching_up import catch_up
from handlers.log.disorder import Disorder
from handlers.log.group_writer import GroupWriter
from handlers.ports import EventStore, Snapshot

log = logging.getLogger(__name__)

SNAPSHOT_EVERY = 20_000
"""Changes between two snapshots: what a starting process has to read at the most, and then some."""


class LedgerFeed:
    """Keeps ``writer`` up to date."""

    def __init__(
        self, store: EventStore, stamp: Stamp, disorder: Disorder | None = None, *, saves_snapshots: bool = False
    ) -> None:
        self._store = store
        self._aggregate = ledger.aggregate(store.cell)
        self._saves = saves_snapshots
        self._unsaved = 0
        """Changes since the last snapshot."""
        self._caught_up = asyncio.Event()
        self._news = asyncio.Event()
        self.writer: GroupWriter[Ledger] = GroupWriter(
            ledger.KIND,
            self._aggregate,
            store,
            stamp,
            lambda changes: LedgerChanged(changes=changes),
            Ledger(),
            disorder,
        )

    async def run(self, listener: Callable[[Recorded], None] | None = None) -> None:
        """Follow the log until cancelled."""
        await self._begin()
        async with aclosing(self._store.follow(self.writer.tail.position, "ledger")) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for recorded in batch:
                    await self.writer.advance(recorded)
                    if isinstance(recorded.event, LedgerChanged):
                        self._unsaved += len(recorded.event.changes)
                    if listener:
                        listener(recorded)
                if not batch:
                    self._caught_up.set()
                self.tell()
                if self._saves and self._unsaved >= SNAPSHOT_EVERY:
                    await self._save()

    async def _begin(self) -> None:
        """Go on from the snapshot. One that this program cannot read is passed over: all is in the log."""
        snapshot = await self._store.load_snapshot(self._aggregate)
        if snapshot is None:
            return
        try:
            state = ledger_snapshot.restore(snapshot.body)
        except Exception:  # whatever it is, it was not in the log
            log.exception("the snapshot of %s cannot be read; the log is read instead", self._aggregate)
        else:
            self.writer.restore(state, snapshot.tail)

    async def read_once(self) -> None:
        """Read what is in the log now, and no more. Raises Unavailable."""
        await catch_up(self.run(), self.ready())

    async def ready(self) -> None:
        """Wait until everything that was in the log at the start is known."""
        await self._caught_up.wait()

    def tell(self) -> None:
        """Wake who waits for news: the ledger has changed."""
        self._news.set()

    async def positions(self) -> AsyncIterator[int]:
        """How far the ledger is known here, each time there is news, for ever."""
        while True:
            self._news.clear()
            yield self.writer.tail.position
            await self._news.wait()

    async def _save(self) -> None:
        async with self.writer.settled() as state:
            tail, body = self.writer.tail, ledger_snapshot.dump(state)
        await self._store.save_snapshot(self._aggregate, Snapshot(tail, body))
        self._unsaved = 0
