"""Who may have a password checked now: a check takes the processor for 50 ms, on purpose, and anybody can ask.

Guesses are slowed by the address they come from, and by the user they are about. Whoever showed the right password a
short while ago is not slowed, and waits for no check: a client that logs in for each of its commands costs nothing,
and an attack on a user's password keeps out nobody who knows it.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from datetime import datetime, timedelta

from domain.errors import Refused
from handlers.allowances import Allowances
from handlers.ports import Clock

MAX_WAITING = 32
"""Checks that are under way or wait for their turn, of all callers together."""
GUESSES_OF_ADDRESS = (20, 2.0)
GUESSES_AT_USER = (20, 0.5)
"""How many wrong passwords are borne at once, and how many more each second."""
MAX_REMEMBERED = 10_000
"""Passwords."""
REMEMBERED_FOR = timedelta(minutes=5)
"""How long a password that was right needs no other check."""
RETRY_AFTER = 1
"""Seconds."""


class LogIns:
    """The log-ins of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting = 0
        self._of_address = Allowances(clock, *GUESSES_OF_ADDRESS)
        self._at_user = Allowances(clock, *GUESSES_AT_USER)
        self._key = secrets.token_bytes(32)
        """Of this process alone: what is remembered of a password is worth nothing elsewhere."""
        self._right: OrderedDict[bytes, datetime] = OrderedDict()

    def is_known(self, user_id: str, stored: str, password: str) -> bool:
        """Whether this was found right a short while ago for what is ``stored`` of the user's."""
        at = self._right.get(self._mark(user_id, stored, password))
        return at is not None and self._clock.now() - at < REMEMBERED_FOR

    def begin(self, address: str, name: str) -> None:
        """A check is to begin; ``end`` must follow. Raises Refused (429) where there were too many wrong ones from
        that address or about that user, or too many are under way."""
        if self._waiting >= MAX_WAITING or not (self._of_address.has(address) and self._at_user.has(name)):
            raise Refused(
                "log_in.too_many", "Too many log-ins; try again later.", status=429, retry_after=RETRY_AFTER
            )
        self._waiting += 1

    def end(self, address: str, name: str, right: tuple[str, str] | None, password: str) -> None:
        """The check is over; ``right`` is whose password it is, by id, and what is stored of it, if anybody's."""
        self._waiting -= 1
        if right is None:
            self._of_address.charge(address)
            self._at_user.charge(name)
            return
        mark = self._mark(*right, password)
        self._right[mark] = self._clock.now()
        self._right.move_to_end(mark)
        if len(self._right) > MAX_REMEMBERED:
            self._right.popitem(last=False)

    def _mark(self, user_id: str, stored: str, password: str) -> bytes:
        """Another hash stored for the user, which is another password, makes it another mark."""
        text = f"{user_id}\0{stored}\0{password}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).digest()
