"""Who may have a password checked now: a check takes the processor for 50 ms, on purpose, and anybody can ask.

Guesses are slowed by the address they come from, and by the user they are about. Whoever showed the right password a
short while ago is not slowed, and waits for no check: a client that logs in for each of its commands costs nothing,
and an attack on a user's password keeps out nobody who knows it.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from adapters.rest.settings import User
from domain.errors import Refused

MAX_WAITING = 32
"""Checks that are under way or wait for their turn, of all callers together."""
GUESSES_OF_ADDRESS = (20.0, 2.0)
GUESSES_AT_USER = (20.0, 0.5)
"""How many wrong passwords are borne at once, and how many more each second."""
MAX_REMEMBERED = 10_000
"""Addresses, users and passwords that are remembered, each."""
REMEMBERED_SECONDS = 300.0
"""How long a password that was right needs no other check."""
RETRY_AFTER = 1
"""Seconds."""


class LogIns:
    """The log-ins of one process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._waiting = 0
        self._of_address = _Guesses(*GUESSES_OF_ADDRESS)
        self._at_user = _Guesses(*GUESSES_AT_USER)
        self._key = secrets.token_bytes(32)
        """Of this process alone: what is remembered of a password is worth nothing elsewhere."""
        self._right: OrderedDict[bytes, float] = OrderedDict()

    def is_known(self, user: User, password: str) -> bool:
        """Whether this was the user's password a short while ago, and still is."""
        at = self._right.get(self._mark(user, password))
        return at is not None and self._monotonic() - at < REMEMBERED_SECONDS

    def begin(self, address: str, name: str) -> None:
        """A check is to begin; ``end`` must follow. Raises Refused (429) where there were too many wrong ones from
        that address or about that user, or too many are under way."""
        now = self._monotonic()
        if self._waiting >= MAX_WAITING or self._of_address.spent(address, now) or self._at_user.spent(name, now):
            raise Refused(
                "log_in.too_many", "Too many log-ins; try again later.", status=429, retry_after=RETRY_AFTER
            )
        self._waiting += 1

    def end(self, address: str, name: str, user: User | None, password: str) -> None:
        """The check is over; ``user`` is who has that password, if anybody."""
        self._waiting -= 1
        now = self._monotonic()
        if user is None:
            self._of_address.spend(address, now)
            self._at_user.spend(name, now)
            return
        mark = self._mark(user, password)
        self._right[mark] = now
        self._right.move_to_end(mark)
        if len(self._right) > MAX_REMEMBERED:
            self._right.popitem(last=False)

    def _mark(self, user: User, password: str) -> bytes:
        """Another hash kept for the user, which is another password, makes it another mark."""
        text = f"{user.id}\0{user.password_hash}\0{password}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).digest()


class _Guesses:
    """A bucket a name: what is spent comes back with time."""

    def __init__(self, size: float, a_second: float) -> None:
        self._size, self._a_second = size, a_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What was left, and when; names that are not here have all of it."""

    def spent(self, name: str, now: float) -> bool:
        return self._now(name, now) < 1

    def spend(self, name: str, now: float) -> None:
        self._left[name] = max(0.0, self._now(name, now) - 1), now
        self._left.move_to_end(name)
        if len(self._left) > MAX_REMEMBERED:
            self._left.popitem(last=False)

    def _now(self, name: str, now: float) -> float:
        left, at = self._left.get(name, (self._size, now))
        return min(self._size, left + (now - at) * self._a_second)
