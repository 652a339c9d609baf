"""Tickets for images: a command brings its host one for each image that its guest needs, or that it makes of it, good
for that image only.

They are signed, not remembered: the image service needs nothing but the key to believe one.
"""

import hashlib
import hmac

from handlers.ports import Clock

FETCHING, SENDING = "image", "upload"
"""What a ticket is for."""
GOOD_SECONDS = 3600
"""Longer than any action may take; a download that has begun goes on."""


class ImageTickets:
    """Made by conductors, and believed by the image service. ``key`` is known to these only."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def issue(self, image_id: str, host: str, purpose: str = FETCHING) -> str:
        """A ticket with which ``host`` fetches an image, or sends it."""
        until = int(self._clock.now().timestamp()) + GOOD_SECONDS
        return f"{until}.{self._signature(purpose, image_id, host, until)}.{host}"

    def holder(self, ticket: str, image_id: str, purpose: str = FETCHING) -> str | None:
        """The host to which a ticket for this purpose was issued; None if it is none, or not good any more."""
        time, _, rest = ticket.partition(".")
        signature, _, host = rest.partition(".")
        if not (time.isascii() and time.isdigit() and len(time) <= 12 and ticket.isascii()):
            return None
        until = int(time)
        good = hmac.compare_digest(self._signature(purpose, image_id, host, until), signature)
        return host if good and self._clock.now().timestamp() < until else None

    def _signature(self, purpose: str, image_id: str, host: str, until: int) -> str:
        return hmac.new(self._key, f"{purpose}/{image_id}/{until}/{host}".encode(), hashlib.sha256).hexdigest()
