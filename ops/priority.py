"""Who goes first where processors are short: who answers people, then who works for them, then the guests."""

import os
from contextlib import suppress
from pathlib import Path

ANSWERS, WORKS, USUAL = -10, -5, 0
"""Nice values."""


def take(nice: int) -> None:
    """For this process and those that it will start, as far as this machine lets it."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    # Where every session has a share of its own (Linux's autogroup), niceness counts within a session only, and this
    # is the session's.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))
