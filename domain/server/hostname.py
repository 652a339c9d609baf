"""The name of the guest itself, as it sees and shows it."""

from domain.server.state import Server

MAX_LENGTH = 63
"""RFC 1123."""


def hostname(server: Server) -> str:
    """As asked for (microversion 2.90), or made of the server's name as Nova makes it."""
    if server.hostname:
        return server.hostname
    plain = server.name.replace(" ", "-").replace("_", "-").lower()
    kept = "".join(letter for letter in plain if letter.isascii() and (letter.isalnum() or letter in "-."))
    return kept.strip(".-")[:MAX_LENGTH] or f"server-{server.id}"
