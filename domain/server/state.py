"""The state of a server. Names and values are Nova's."""

from datetime import datetime

from domain.errors import Refused, not_found
from domain.guest import Nic, PowerState
from domain.log.record import AggregateId
from domain.server.hostname import derived
from domain.server.moves.move import Move, Place, Remains
from domain.server.parts import Fault, Lock, Rescue, Shelf, UnderWay
from domain.server.wish import Wish

BUILDING, ACTIVE, STOPPED, PAUSED, SUSPENDED = "building", "active", "stopped", "paused", "suspended"
RESCUED, RESIZED, ERROR, DELETED = "rescued", "resized", "error", "deleted"
SHELVED, OFFLOADED = "shelved", "shelved_offloaded"
"""vm_state: the stable state."""

SCHEDULING, SPAWNING = "scheduling", "spawning"
"""task_state of a creation. What is being done otherwise is named where it is declared; None if nothing is."""

CREATE = "create"
"""The name of the creation, in Nova's instance actions."""
UNSHELVE_NAME = "unshelve"
"""And of what brings one back that has no host."""
UNSHELVING = "unshelving"
"""Its task_state while a host is looked for."""

VM_STATE_OF_POWER = {
    PowerState.RUNNING: ACTIVE,
    PowerState.PAUSED: PAUSED,
    PowerState.SHUTDOWN: STOPPED,
    PowerState.CRASHED: STOPPED,
    PowerState.SUSPENDED: SUSPENDED,
}
"""Where a guest's own change of power puts its server."""
FOLLOWS_POWER = (ACTIVE, STOPPED, PAUSED, SUSPENDED)
"""From elsewhere it leads nowhere: a server in error is in doubt about more than its power."""


class Server(Wish, frozen=True, kw_only=True, omit_defaults=True):
    """A server, as its events tell. Only what older versions have folded has no ``hostname``; see ``guest_name``."""

    id: str
    project_id: str
    user_id: str
    requested_zone: str | None
    requested_host: str | None
    secrets: str | None
    reservation_id: str
    launch_index: int
    created_at: datetime
    updated_at: datetime
    version: int = 1
    vm_state: str = BUILDING
    task_state: str | None = SCHEDULING
    power_state: PowerState = PowerState.NOSTATE
    action: UnderWay | None = None
    last_action: int = 1
    """The version at which the last action was accepted."""
    host: str | None = None
    host_id: str | None = None
    availability_zone: str | None = None
    epoch: int = 0
    generation: int = 0
    """Counts the rebuilds that were accepted."""
    rescue: Rescue | None = None
    nics: tuple[Nic, ...] = ()
    failed_hosts: tuple[str, ...] = ()
    """Hosts that could not build it, in the order tried."""
    fault: Fault | None = None
    fault_at: datetime | None = None
    launched_at: datetime | None = None
    terminated_at: datetime | None = None
    lock: Lock | None = None
    has_key: bool = False
    """Whether anything was ever sealed for it: then there is a key that has to be destroyed with it."""
    sealed_password: str | None = None
    """What the guest posted as its administrator's password, sealed."""
    abandoned: bool = False
    move: Move | None = None
    """Its way to another host or size, until that is confirmed, reverted or given up."""
    assignments: int = 0
    """The epoch of the last assignment that was tried, where that is not its own: a move may have come to nothing."""
    remains: tuple[Remains, ...] = ()
    """What may be left of it on dead hosts, and is claimed there."""
    imaging: str | None = None
    """The id of the image that is being made of it."""
    unwanted_images: tuple[str, ...] = ()
    """Images that were made of it, or announced, and have to be removed."""
    shelf: Shelf | None = None
    """What is kept of it since it is put away, or about to be."""

    @property
    def unfinished(self) -> bool:
        """Whether anything is left to do for it."""
        waits = self.waits_until is not None
        return self.action is not None or waits or bool(self.remains or self.unwanted_images)

    @property
    def waits_until(self) -> datetime | None:
        """When something happens to it by itself: its move counts as confirmed, or it leaves its host."""
        if self.move is not None:
            return self.move.confirm_at
        return self.shelf.offload_at if self.shelf else None

    @property
    def is_creating(self) -> bool:
        """Whether its creation is under way."""
        return self.action is not None and self.action.name == CREATE

    @property
    def is_returning(self) -> bool:
        """Whether it has no host since it was put away, and shall have one again."""
        return self.vm_state == OFFLOADED and self.action is not None and self.action.name == UNSHELVE_NAME

    @property
    def is_building(self) -> bool:
        """Whether a host for it is looked for, or builds it."""
        return self.is_creating or self.is_returning

    @property
    def is_nowhere(self) -> bool:
        """Whether it is put away, and nothing of it is on a host, or claimed there."""
        return self.vm_state == OFFLOADED and not self.is_returning

    @property
    def never_came(self) -> bool:
        """Whether its creation was given up before it was anywhere: only its name and its quota are left.
        Having no host is not enough: one that was launched once keeps what it has, wherever it is."""
        return self.vm_state == ERROR and self.host is None and self.launched_at is None

    @property
    def images_of_it(self) -> tuple[str, ...]:
        """The images that end with it."""
        shelved = (self.shelf.image_id,) if self.shelf else ()
        return tuple(dict.fromkeys((*self.unwanted_images, *((self.imaging,) if self.imaging else ()), *shelved)))

    @property
    def newest_epoch(self) -> int:
        """The epoch of the last assignment that was tried: each has one of its own, higher than all before."""
        return max(self.epoch, self.assignments)


def places(server: Server) -> tuple[tuple[str | None, int], ...]:
    """The hosts on which something of the server may be, each with its epoch there."""
    own = (server.host, server.epoch)
    if server.move is None:
        return (own,)
    return (own, *((place.host, place.epoch) for place in server.move.places))


def place_of(server: Server) -> Place:
    """Where the server is. It must be somewhere."""
    assert server.host is not None
    assert server.host_id is not None
    return Place(
        host=server.host,
        host_id=server.host_id,
        availability_zone=server.availability_zone or "",
        epoch=server.epoch,
    )


def guest_name(server: Server) -> str:
    """The host name of the guest."""
    return server.hostname or derived(server.name, server.id)


def aggregate(server_id: str) -> AggregateId:
    return AggregateId("server", server_id)


def existing(server: Server | None, server_id: str) -> Server:
    """The server. Raises Refused (404) for one that is deleted or never was."""
    if server is None or server.vm_state == DELETED:
        raise not_found("Instance", server_id)
    return server


def check_state(
    server: Server, doing: str, vm_states: tuple[str, ...], task_states: tuple[str | None, ...] = (None,)
) -> None:
    """Raise Refused (409) in Nova's words unless the server is in one of those states."""
    cannot = f"Cannot '{doing}' instance {server.id} while it is in"
    if server.vm_state not in vm_states:
        raise Refused("server.state", f"{cannot} vm_state {server.vm_state}")
    if server.task_state not in task_states:
        raise Refused("server.state", f"{cannot} task_state {server.task_state}")


def assigned(server: Server | None, epoch: int) -> Server | None:
    """The server, if it is still assigned to a host in this epoch."""
    if server is None or server.vm_state == DELETED or server.host is None or server.epoch != epoch:
        return None
    return server


def weigh(server: Server) -> int:
    """About how many bytes it takes in memory; what a user decides the size of is counted."""
    properties = server.image.properties if server.image else {}
    return 4096 + sum(len(name) + len(value) for name, value in (*server.metadata.items(), *properties.items()))
