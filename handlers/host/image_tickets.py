"""Tickets for images: a command brings its host one for each image that its guest needs, good for that image only.

They are signed, not remembered: the image service needs nothing but the key to believe one.
"""

import hashlib
import hmac

from handlers.ports import Clock

GOOD_SECONDS = 3600
"""Longer than any action may take; a download that has begun goes on."""


class ImageTickets:
    """Made by conductors, and believed by the image service. ``key`` is known to these only."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def issue(self, image_id: str, host: str) -> str:
        """A ticket with which ``host`` fetches an image."""
        until = int(self._clock.now().timestamp()) + GOOD_SECONDS
        return f"{until}.{self._signature(image_id, host, until)}.{host}"

    def holder(self, ticket: str, image_id: str) -> str | None:
        """The host to which a ticket for the image was issued; None if it is none, or not good any more."""
        time, _, rest = ticket.partition(".")
        signature, _, host = rest.partition(".")
        if not (time.isascii() and time.isdigit() and len(time) <= 12 and ticket.isascii()):
            return None
        until = int(time)
        good = hmac.compare_digest(self._signature(image_id, host, until), signature)
        return host if good and self._clock.now().timestamp() < until else None

    def _signature(self, image_id: str, host: str, until: int) -> str:
        return hmac.new(self._key, f"image/{image_id}/{until}/{host}".encode(), hashlib.sha256).hexdigest()
