"""What a server is made of, and what its events speak of, below both."""

from datetime import datetime

import msgspec

from domain.guest import ImageSource


class NetworkRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One interface that the user asked for."""

    network_id: str
    fixed_ip: str | None = None
    port_id: str | None = None
    """A port of the project's own."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why something failed. ``message`` is for the tenant: cause and next step, no host, path or traceback;
    ``details`` is for the administrator."""

    code: int
    message: str
    details: str = ""


class UnderWay(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An accepted action that has not ended, and whose it is."""

    name: str
    """As in Nova's instance actions: create, stop, start, reboot, pause, rebuild, …"""
    request_id: str
    started_at: datetime
    deadline: datetime
    version: int
    """The server's version when it was accepted; a host skips commands of an older one."""
    user_id: str | None = None
    project_id: str | None = None
    global_request_id: str | None = None


class Rescue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a server that is being rescued starts from."""

    image: ImageSource
    secrets: str | None = None
    """The password of the rescue system, sealed."""


class Shelf(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a server that was put away."""

    image_id: str
    """Of the image that was made of its disk."""
    offload_after: float | None = None
    """Seconds after which it leaves its host; 0 at once, None never by itself."""
    offload_at: datetime | None = None
    """When that is, while it is waited for."""
    image: ImageSource | None = None
    """The same, once its disk is made of it on another host."""


class Lock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What keeps everybody but administrators from changing the guest."""

    by_owner: bool
    """Whether it was set from the server's own project."""
    reason: str | None = None
