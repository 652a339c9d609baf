"""The neighbours: what is asked of the services beside this one.

Their embedded defaults are the modules of this package; who asks knows none of them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from domain.guest import ImageSource, Nic
from domain.server.parts import NetworkRequest
from domain.server.state import Server
from handlers.accepted import Accepted
from handlers.context import Context


class Identity(Protocol):
    """Whose things there can be."""

    async def project_exists(self, project_id: str) -> bool:
        """Whether there is a project of exactly this id. Raises Unavailable."""
        ...


class BootImage(NamedTuple):
    """What a guest can start from."""

    source: ImageSource
    min_ram_mb: int
    """What it wants of a flavor."""


class NewImage(NamedTuple):
    """An image that is about to be made of a server's disk, in the format qcow2."""

    name: str
    owner: str
    """The id of a project."""
    base: ImageSource | None
    """What the disk was made of: what that says of the hardware holds for the new one, too."""
    properties: dict[str, str]
    """Beside those of ``base``, and before them."""


class Images(Protocol):
    """Where images come from, and go to."""

    async def bootable(self, context: Context, image_id: str) -> BootImage:
        """An image that the caller may use, and that has its bytes. Raises Invalid if there is none of that id, and
        Unavailable."""
        ...

    async def announce(self, context: Context, new: NewImage) -> tuple[str, Accepted]:
        """Have an image that nobody but its project sees, and that waits for its bytes; returns its id. Raises
        Refused (403) if the project has as many as it may have, or the properties are too many; Unavailable."""
        ...

    async def remove(self, context: Context, image_id: str) -> None:
        """Have it no longer, whatever there is of it; harmless if it is gone. One that is protected stays. Raises
        Unavailable."""
        ...


class Volumes(Protocol):
    """Where further disks come from."""

    async def check(self, context: Context, volume_id: str) -> None:
        """Raise Refused (404) unless there is a volume of this id that the caller may use; Unavailable."""
        ...


class UsableNetwork(NamedTuple):
    """A network on which the caller's servers may be."""

    id: str
    project_id: str


class PortHolder(NamedTuple):
    """A server that has an address."""

    server_id: str
    project_id: str
    network_id: str


class Networks(Protocol):
    """Where addresses come from. Taking one and giving it back may be done again: it changes nothing."""

    async def usable(self, context: Context) -> Sequence[UsableNetwork]:
        """The networks of the caller's project, then those shared with it. Raises Unavailable."""
        ...

    async def interface(self, context: Context, network_id: str, fixed_ip: str | None) -> NetworkRequest:
        """An interface on a network, with an address of the caller's choice if one is given.

        Raises Invalid for a network that is not there or not for the caller, and for an address that none can have
        there; Refused (400) for one that is taken; Unavailable.
        """
        ...

    async def port(self, context: Context, port_id: str) -> NetworkRequest:
        """An interface by a port of the project's own. Raises Invalid for one that is not there, Refused (409) for
        one that somebody has; Unavailable."""
        ...

    async def subnet_of(self, nic: Nic) -> str | None:
        """The id of the subnet that an interface's address is of; None if its network is gone. Raises Unavailable."""
        ...

    async def allocate(self, context: Context, cell: str, server: Server, index: int) -> Nic:
        """The interface that the server asked for at that place, with an address of its own. Raises Invalid and
        Refused where there is none to be had, and Unavailable."""
        ...

    async def release(self, context: Context, server: Server) -> None:
        """Give back the addresses of the interfaces that the server asked for. Raises Unavailable."""
        ...

    async def release_all(self, context: Context, server_id: str, network_ids: Iterable[str]) -> None:
        """Give back every address on these networks of a server of which nothing tells what it asked for. Raises
        Unavailable."""
        ...

    async def holds(self, server_id: str, network_ids: Iterable[str]) -> bool:
        """Whether a server has an address on any of these networks. Raises Unavailable."""
        ...

    async def holders(self, cell: str) -> Sequence[PortHolder]:
        """Who of a cell has an address now. Raises Unavailable."""
        ...

    def listen(self, cell: str, listener: Callable[[PortHolder], None]) -> None:
        """Call ``listener`` with each server of a cell that has got an address."""
        ...


class Neighbours(NamedTuple):
    """All of them."""

    identity: Identity
    images: Images
    networks: Networks
    volumes: Volumes
