"""The past: what was, at a moment that somebody names, read from the log by the same code that reads the present."""

from collections.abc import Awaitable, Callable


class NotRead(Exception):
    """Something of the past is asked for that has not been read yet. Whoever catches it reads it, and asks again:
    questions change nothing, so they can be asked as often as it takes."""

    def __init__(self, read: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.read = read
