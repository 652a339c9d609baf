"""What a guest is given that must not be readable in the log: sealed under a key of the server's own."""

import msgspec

from domain.server.state import Server
from handlers.ports import Vault


class File(msgspec.Struct, frozen=True):
    """A file that the user wants in the guest (personality, before microversion 2.57)."""

    path: str
    contents: str
    """In base64."""


class Secrets(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sealed."""

    user_data: str | None = None
    """In base64."""
    admin_pass: str | None = None
    personality: tuple[File, ...] = ()


NO_SECRETS = Secrets()
_decoder = msgspec.json.Decoder(Secrets)


async def seal(vault: Vault, server_id: str, secrets: Secrets | None) -> str | None:
    """Text fit for an event; None if there is nothing to keep. Raises Unavailable."""
    return None if secrets is None else await vault.seal(server_id, msgspec.json.encode(secrets))


async def unseal(vault: Vault, server: Server) -> Secrets:
    """What was sealed for a server, with the password of its rescue system while it has one; nothing once its key
    was destroyed. Raises Unavailable."""
    secrets = await _unseal(vault, server.id, server.secrets)
    if server.rescue and server.rescue.secrets:
        rescue = await _unseal(vault, server.id, server.rescue.secrets)
        return msgspec.structs.replace(secrets, admin_pass=rescue.admin_pass)
    return secrets


async def _unseal(vault: Vault, server_id: str, sealed: str | None) -> Secrets:
    opened = await vault.unseal(server_id, sealed) if sealed else None
    return NO_SECRETS if opened is None else _decoder.decode(opened)
