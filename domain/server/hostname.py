"""The name of the guest itself, as it sees and shows it: decided once, when the server is asked for."""

import re

MAX_LENGTH = 63
"""RFC 1123."""
_DASHES = re.compile(r"[ _.]")
_FORBIDDEN = re.compile(r"[^a-z0-9-]")


def derived(name: str, server_id: str, number: int | None = None) -> str:
    """Made of a server's name, as Nova makes it. Of several servers of one request each has its ``number`` behind it,
    also where the name had to be cut."""
    suffix = "" if number is None else f"-{number}"
    plain = _FORBIDDEN.sub("", _DASHES.sub("-", name.lower())).strip("-")
    kept = plain[: MAX_LENGTH - len(suffix)].rstrip("-")
    return kept + suffix if kept else f"server-{server_id}"
