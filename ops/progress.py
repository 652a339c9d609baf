"""A bar that shows how far a long work is: on a terminal, and nowhere else."""

import sys
import time
from typing import Self

WIDTH = 30
_EVERY = 0.1
"""Seconds between two looks of it."""


class Progress:
    """Use as a context manager: the bar is gone at the end."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._shows = sys.stderr.isatty()
        self._begun = self._shown = time.monotonic()

    def show(self, done: int, total: int, events: int) -> None:
        """``done`` of ``total``, of whatever it goes by; and how many events were seen."""
        now = time.monotonic()
        if not self._shows or now - self._shown < _EVERY:
            return
        self._shown = now
        share = min(1.0, done / total) if total else 1.0
        bar = "#" * int(share * WIDTH)
        rate = events / max(now - self._begun, _EVERY)
        sys.stderr.write(f"\r{self._title} [{bar:<{WIDTH}}] {share:4.0%}  {events:,} events, {rate:,.0f}/s ")
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shows:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
