"""Signs of life are no history: who lived at a moment is not known afterwards."""

from datetime import datetime

from handlers.fleet.liveness import LifeSigns
from handlers.ports import Beat

UNKNOWN = "unknown"


class Unheard(LifeSigns):
    """Life signs of a moment that is over."""

    def __init__(self) -> None:  # nothing is listened to
        pass

    def of_role(self, role: str) -> list[Beat]:
        return []

    def last_seen(self, name: str) -> datetime | None:
        return None

    def alive(self, name: str) -> bool:
        return False

    def state(self, name: str) -> str:
        return UNKNOWN
