"""What commands take as arguments."""

import argparse

from ops.settings import MAX_SIMULATED_HOSTS

MOST = 1_000_000_000


def limit(text: str) -> int:
    """How many things at the most. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST:,}")
    return int(text)


def simulated_hosts(text: str) -> int:
    """How many simulated hosts; 0 for none. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_SIMULATED_HOSTS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {MAX_SIMULATED_HOSTS:,}")
    return int(text)
