"""What users ask for, checked and resolved by the face that took it: new servers, and servers built anew."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from domain.guest import ImageSource
from domain.server.state import Server
from domain.server.wish import Wish
from handlers.servers.guest_secrets import File, Secrets


class NewServer(Wish, frozen=True, kw_only=True):
    """A request for servers."""

    min_ram_mb: int = 0
    """The image's demand on the flavor."""
    availability_zone: str | None = None
    host: str | None = None
    secrets: Secrets | None = None
    """Sealed before they reach the log."""
    min_count: int = 1
    max_count: int = 1


class Evacuation(msgspec.Struct, frozen=True, kw_only=True):
    """A request to have a server whose host is dead on another."""

    host: str | None = None
    admin_pass: str | None = None
    """Told the guest, where it has a config drive; None: as before."""
    stopped: bool = False
    """Powered off afterwards, whatever it was."""


class Rebuild(msgspec.Struct, frozen=True, kw_only=True):
    """A request to build a server anew."""

    image: ImageSource
    admin_pass: str
    min_ram_mb: int = 0
    changes: dict[str, Any] = {}
    """What else of the server's wish shall be otherwise, by field (``RENEWED``); the rest stays as it is."""
    user_data: str | UnsetType | None = UNSET
    """In base64; None takes away what there was, UNSET leaves it."""
    personality: tuple[File, ...] = ()

    def secrets(self, server: Server, present: Secrets) -> Secrets | None:
        """What the rebuilt guest is given; None if there is nothing to tell it."""
        user_data = present.user_data if self.user_data is UNSET else self.user_data
        if user_data is None and not self.personality and not server.config_drive:
            return None
        return Secrets(user_data=user_data, admin_pass=self.admin_pass, personality=self.personality)
