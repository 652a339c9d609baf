"""Who is next: the urgent before the others, and among these each owner in turn, however much one of them wants."""

from collections import OrderedDict, deque


class FairQueue:
    """Ids that wait, each once."""

    def __init__(self) -> None:
        self._urgent: OrderedDict[str, None] = OrderedDict()
        self._owners: OrderedDict[str, deque[str]] = OrderedDict()
        """By owner, the next one in turn first."""
        self._waiting: set[str] = set()
        """Those that are not urgent."""

    def __len__(self) -> int:
        return len(self._urgent) + len(self._waiting)

    def __contains__(self, item: str) -> bool:
        return item in self._urgent or item in self._waiting

    def put(self, item: str, owner: str, *, urgent: bool) -> None:
        """Have it wait, unless it does already; one that has become urgent goes before the others."""
        if urgent:
            self._waiting.discard(item)
            self._urgent[item] = None
        elif item not in self:
            self._waiting.add(item)
            self._owners.setdefault(owner, deque()).append(item)

    def take(self) -> str | None:
        """The next one; None if nobody waits."""
        if self._urgent:
            return self._urgent.popitem(last=False)[0]
        while self._owners:
            owner, items = self._owners.popitem(last=False)
            item = items.popleft()
            if items:
                self._owners[owner] = items
            if item in self._waiting:  # else it became urgent meanwhile, and was taken
                self._waiting.discard(item)
                return item
        return None
