"""The servers that are being worked on, in memory: what a conductor decides on without asking the log."""

from collections import OrderedDict
from collections.abc import Callable

from domain.errors import OutOfOrder, Stale
from domain.guest import GuestState
from domain.log.kind import advance
from domain.log.record import GENESIS, Event, Recorded, Tail
from domain.server.fold import KIND
from domain.server.state import Server, aggregate, weigh
from handlers.context import Context, Stamp
from handlers.log.disorder import Disorder
from handlers.log.remembered import Remembered
from handlers.log.repository import Repository
from handlers.ports import EventStore

MAX_BYTES = 256 * 1024 * 1024
"""Of the servers kept in memory: some 60,000 of the usual ones."""
MAX_NEWEST = 100_000
"""Servers of which only the newest version is remembered."""

MAX_AGREED = 1_000_000
"""Guests of which it is remembered that they are as they should be, some hundred bytes each."""

Known = tuple[Server | None, Tail]


class ServerStates:
    """Servers of one cell with their tails. What is remembered may be stale: the log's guard finds out."""

    def __init__(self, store: EventStore, stamp: Stamp, disorder: Disorder | None = None) -> None:
        self._disorder = disorder or Disorder()
        self._repository: Repository[Server] = Repository(KIND, store, stamp, remembers=False)
        self._known: Remembered[Known] = Remembered(_weigh, MAX_BYTES)
        self._newest: OrderedDict[str, int] = OrderedDict()
        """The newest version that the log has delivered, of servers remembered in an older one or not at all."""
        self._agreed: dict[str, tuple[str, GuestState]] = {}
        """Guests, and the hosts that reported them, to whom nothing was to be said; until the next event."""

    def advance(self, recorded: Recorded) -> Server | None:
        """Take in a server's event; returns the state after it, or None if it must be loaded to be known (which
        raises OutOfOrder, where the event cannot be folded)."""
        server_id = recorded.aggregate.id
        self._agreed.pop(server_id, None)
        state, tail = self._known.get(server_id) or (None, GENESIS)
        if recorded.version <= tail.version:
            return state
        state = self._after(state, tail, recorded)
        if state is None:
            self._known.forget(server_id)
            self._note_newest(server_id, recorded.version)
            return None
        self._remember(server_id, (state, recorded.tail))
        return state

    def agrees(self, host: str, guest: GuestState) -> bool:
        """Whether a guest was so on this host when ``agree`` was called last, and nothing has happened to its server
        since. Needs no state: of more servers than are remembered, too, it costs nothing to hear what is known."""
        return self._agreed.get(guest.server_id) == (host, guest)

    def agree(self, host: str, guest: GuestState) -> None:
        """The guest is as its server says that it should be."""
        if self._newest.get(guest.server_id, 0) > self._tail(guest.server_id).version:
            return  # what was judged by is older than what the log has delivered
        if len(self._agreed) >= MAX_AGREED:
            del self._agreed[next(iter(self._agreed))]
        self._agreed[guest.server_id] = host, guest

    def remembered(self, server_id: str) -> Server | None:
        """The server as far as it is in memory."""
        known = self._known.get(server_id)
        return known[0] if known else None

    async def get(self, server_id: str) -> Server | None:
        """The server, from memory if it is there."""
        known = self._known.get(server_id)
        if known is None or known[1].version < self._newest.get(server_id, 0):
            try:
                known = await self._repository.load(aggregate(server_id))
            except OutOfOrder as error:
                raise self._disorder.note(aggregate(server_id), error) from None
            newer = self._known.get(server_id)
            if newer is not None and newer[1].version > known[1].version:
                # What the log has delivered meanwhile must not be forgotten for what was read before.
                return newer[0]
            self._remember(server_id, known)
        return known[0]

    @staticmethod
    def _after(state: Server | None, tail: Tail, recorded: Recorded) -> Server | None:
        """The state after an event, None if that is not known from what is remembered."""
        if not recorded.follows(tail):
            return None
        try:
            return advance(KIND, state, recorded)
        except Exception:  # noqa: BLE001 - loading it will tell
            return None

    async def execute(
        self, context: Context, server_id: str, decide: Callable[[Server | None], Event | None]
    ) -> tuple[Server | None, Recorded | None]:
        """Decide and append, starting from what is remembered; see Repository.execute."""
        known = self._known.get(server_id)
        try:
            state, recorded = await self._repository.execute(context, aggregate(server_id), decide, known)
        except Stale:
            # Whoever tries again must not decide on the same.
            self.forget(server_id)
            raise
        if recorded is None and known is not None and state is not known[0]:
            # What was remembered was old.
            self.forget(server_id)
        if recorded and recorded.version > self._tail(server_id).version:
            self._agreed.pop(server_id, None)
            self._remember(server_id, (state, recorded.tail))
        return state, recorded

    def _tail(self, server_id: str) -> Tail:
        known = self._known.get(server_id)
        return known[1] if known else GENESIS

    def forget(self, server_id: str) -> None:
        """Load it from the log the next time. How new it was stays known: an append whose answer is late must not
        have an older state remembered in its place."""
        if version := self._tail(server_id).version:
            self._note_newest(server_id, version)
        self._known.forget(server_id)

    def _note_newest(self, server_id: str, version: int) -> None:
        self._newest[server_id] = max(version, self._newest.get(server_id, 0))
        if len(self._newest) > MAX_NEWEST:
            self._newest.popitem(last=False)

    def _remember(self, server_id: str, known: Known) -> None:
        self._known.put(server_id, known)


def _weigh(known: Known) -> int:
    return weigh(known[0]) if known[0] else 1024
