"""Who comes to a host while it runs waits for its turn: so many at a time, in the order in which they asked."""

from collections.abc import Collection

PATIENCE = 30.0
"""Seconds after which who has not asked again is not waiting any more: its migration was given up."""


class Line:
    """In memory only: whoever waits asks again and again, so that nobody is forgotten by who is started anew."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._asked: dict[str, float] = {}
        """When each has asked last; in their order."""

    def admits(self, server_id: str, coming: Collection[str], now: float) -> bool:
        """Whether it may come now, beside those that are on their way here."""
        if server_id in coming:
            return True
        self._asked[server_id] = now
        self._asked = {other: at for other, at in self._asked.items() if now - at < PATIENCE}
        if server_id not in list(self._asked)[: max(0, self._most - len(coming))]:
            return False
        del self._asked[server_id]
        return True

    def leave(self, server_id: str) -> None:
        """It does not come."""
        self._asked.pop(server_id, None)
