"""The ledger as it was."""

from collections import OrderedDict

from handlers.context import Stamp
from handlers.log.ledger_feed import LedgerFeed
from handlers.past.until import StoreUntil
from handlers.ports import EventStore

KEPT = 4
"""Ledgers that are kept for who asks again of the same moment."""


class PastLedgers:
    """A cell's ledger at any position of its log."""

    def __init__(self, store: EventStore, stamp: Stamp) -> None:
        self._store = store
        self._stamp = stamp
        self._kept: OrderedDict[int, LedgerFeed] = OrderedDict()

    async def at(self, position: int) -> LedgerFeed:
        """The ledger after everything up to a position. Raises Unavailable."""
        feed = self._kept.get(position)
        if feed is None:
            feed = LedgerFeed(StoreUntil(self._store, position), self._stamp)
            await feed.read_once()
            self._kept[position] = feed
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(position)
        return feed
