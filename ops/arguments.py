"""What commands take as arguments."""

import argparse

MOST = 1_000_000_000


def limit(text: str) -> int:
    """How many things at the most. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST:,}")
    return int(text)
