"""A bounded memory: the least recently used goes first, and what is large counts for more."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")

MAX_BYTES = 64 * 1024 * 1024


class Remembered(Generic[V]):
    """Values by id, as many as have room in ``max_bytes``, by what ``weigh`` says of each."""

    def __init__(self, weigh: Callable[[V], int], max_bytes: int = MAX_BYTES) -> None:
        self._weigh = weigh
        self._max_bytes = max_bytes
        self._values: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: str, value: V) -> None:
        """Remember it; what was used least recently makes room."""
        self.forget(key)
        weight = self._weigh(value)
        self._values[key] = value, weight
        self.bytes += weight
        while self.bytes > self._max_bytes and len(self._values) > 1:
            _, (_, freed) = self._values.popitem(last=False)
            self.bytes -= freed

    def forget(self, key: str) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self.bytes -= found[1]
