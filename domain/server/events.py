"""What can happen to a server."""

from datetime import datetime

from domain.flavor import Flavor
from domain.guest import ImageSource, Nic, PowerState
from domain.record import Event
from domain.server.parts import Fault, NetworkRequest


class ServerRequested(Event, tag="server.requested", frozen=True, kw_only=True):
    """A user asked for a server, and was told yes."""

    server_id: str
    name: str
    project_id: str
    user_id: str
    flavor: Flavor
    deadline: datetime
    """When the creation ends in ERROR if it has not ended before."""
    image: ImageSource | None = None
    key_name: str | None = None
    public_key: str | None = None
    metadata: dict[str, str] = {}
    networks: tuple[NetworkRequest, ...] = ()
    security_groups: tuple[str, ...] = ()
    availability_zone: str | None = None
    """As asked for; None lets the scheduler choose."""
    requested_host: str | None = None
    config_drive: bool = False
    description: str | None = None
    tags: tuple[str, ...] = ()
    hostname: str | None = None
    secrets: str | None = None
    """User data, password and personality, sealed."""
    reservation_id: str = ""
    launch_index: int = 0


class ServerAbandoned(Event, tag="server.abandoned", frozen=True, kw_only=True):
    """A server id for which quota was reserved, but whose request never came: it never will."""

    server_id: str


class ServerPlaced(Event, tag="server.placed", frozen=True, kw_only=True):
    """A host was chosen, its resources are claimed, and the addresses are allocated."""

    host: str
    host_id: str
    epoch: int
    availability_zone: str
    nics: tuple[Nic, ...] = ()


class ServerBuilt(Event, tag="server.built", frozen=True, kw_only=True):
    """The guest runs."""

    epoch: int
    power_state: PowerState


class ServerBuildFailed(Event, tag="server.build_failed", frozen=True, kw_only=True):
    """The host could not build the guest, and has nothing left of it; another may be tried."""

    epoch: int
    fault: Fault


class ServerFailed(Event, tag="server.failed", frozen=True, kw_only=True):
    """The creation has failed for good. ``removed`` counts the hosts that each scheduling rule took out."""

    fault: Fault
    removed: dict[str, int] = {}


class ServerStopRequested(Event, tag="server.stop_requested", frozen=True, kw_only=True):
    """Power off was accepted."""

    deadline: datetime


class ServerStopped(Event, tag="server.stopped", frozen=True, kw_only=True):
    """The guest is off, as was asked."""

    epoch: int


class ServerStartRequested(Event, tag="server.start_requested", frozen=True, kw_only=True):
    """Power on was accepted."""

    deadline: datetime


class ServerStarted(Event, tag="server.started", frozen=True, kw_only=True):
    """The guest is on, as was asked."""

    epoch: int


class ServerRebootRequested(Event, tag="server.reboot_requested", frozen=True, kw_only=True):
    """A reboot was accepted."""

    deadline: datetime
    hard: bool
    supersedes: str | None = None
    """The request id of the action under way that ends by this."""


class ServerRebooted(Event, tag="server.rebooted", frozen=True, kw_only=True):
    """The guest runs again, as was asked."""

    epoch: int


class ServerPauseRequested(Event, tag="server.pause_requested", frozen=True, kw_only=True):
    """A pause was accepted: the guest shall stand still, in memory."""

    deadline: datetime


class ServerPaused(Event, tag="server.paused", frozen=True, kw_only=True):
    """The guest stands still, as was asked."""

    epoch: int


class ServerUnpauseRequested(Event, tag="server.unpause_requested", frozen=True, kw_only=True):
    """The end of a pause was accepted."""

    deadline: datetime


class ServerUnpaused(Event, tag="server.unpaused", frozen=True, kw_only=True):
    """The guest goes on after its pause, as was asked."""

    epoch: int


class ServerSuspendRequested(Event, tag="server.suspend_requested", frozen=True, kw_only=True):
    """A suspension was accepted: the guest's memory shall be kept on disk, and its host's be free."""

    deadline: datetime


class ServerSuspended(Event, tag="server.suspended", frozen=True, kw_only=True):
    """The guest's memory is on disk, as was asked."""

    epoch: int
    power_state: PowerState


class ServerResumeRequested(Event, tag="server.resume_requested", frozen=True, kw_only=True):
    """The end of a suspension was accepted."""

    deadline: datetime


class ServerResumed(Event, tag="server.resumed", frozen=True, kw_only=True):
    """The guest goes on after its suspension, as was asked."""

    epoch: int


class ServerRebuildRequested(Event, tag="server.rebuild_requested", frozen=True, kw_only=True):
    """A rebuild was accepted: a fresh disk from ``image``. The fields are the server's from now on, all of them,
    also those that stay as they were."""

    deadline: datetime
    image: ImageSource
    name: str
    metadata: dict[str, str]
    description: str | None
    key_name: str | None
    public_key: str | None
    hostname: str | None
    secrets: str | None
    """User data, password and personality, sealed."""


class ServerRebuilt(Event, tag="server.rebuilt", frozen=True, kw_only=True):
    """The guest has its fresh disk; it runs, or is off as it was before."""

    epoch: int
    power_state: PowerState


class ServerRescueRequested(Event, tag="server.rescue_requested", frozen=True, kw_only=True):
    """A rescue was accepted: the guest shall start from a fresh disk of ``image``, its own disk beside it."""

    deadline: datetime
    image: ImageSource
    secrets: str | None = None
    """The password of the rescue system, sealed."""


class ServerRescued(Event, tag="server.rescued", frozen=True, kw_only=True):
    """The rescue system runs."""

    epoch: int


class ServerUnrescueRequested(Event, tag="server.unrescue_requested", frozen=True, kw_only=True):
    """The end of a rescue was accepted: the guest shall start from its own disk again."""

    deadline: datetime


class ServerUnrescued(Event, tag="server.unrescued", frozen=True, kw_only=True):
    """The guest runs from its own disk again."""

    epoch: int


class ServerActionFailed(Event, tag="server.action_failed", frozen=True, kw_only=True):
    """The action in progress has ended without success. ``to_error`` tells whether its state is now in doubt."""

    fault: Fault
    to_error: bool = False


class ServerPowerChanged(Event, tag="server.power_changed", frozen=True, kw_only=True):
    """The guest's power changed without an action: from inside, or by the host's own tools."""

    epoch: int
    power_state: PowerState


class ServerRenamed(Event, tag="server.renamed", frozen=True, kw_only=True):
    """The display name is now another."""

    name: str


class ServerDescribed(Event, tag="server.described", frozen=True, kw_only=True):
    """The description is now another, or there is none."""

    description: str | None


class ServerHostnameChanged(Event, tag="server.hostname_changed", frozen=True, kw_only=True):
    """The guest is told another host name from now on."""

    hostname: str


class ServerMetadataChanged(Event, tag="server.metadata_changed", frozen=True, kw_only=True):
    """The metadata is now this, all of it."""

    metadata: dict[str, str]


class ServerTagsChanged(Event, tag="server.tags_changed", frozen=True, kw_only=True):
    """The tags are now these, all of them."""

    tags: tuple[str, ...]


class ServerLocked(Event, tag="server.locked", frozen=True, kw_only=True):
    """Nobody but an administrator may change the guest."""

    by_owner: bool
    """Whether it was locked from its own project, which then may unlock it."""
    reason: str | None = None


class ServerUnlocked(Event, tag="server.unlocked", frozen=True, kw_only=True):
    """The lock is off."""


class ServerPasswordSet(Event, tag="server.password_set", frozen=True, kw_only=True):
    """The guest has posted its administrator's password, encrypted for the owner of the SSH key; sealed here too."""

    password: str


class ServerPasswordCleared(Event, tag="server.password_cleared", frozen=True, kw_only=True):
    """The posted password is forgotten; the guest may post another."""


class ServerDeleteRequested(Event, tag="server.delete_requested", frozen=True, kw_only=True):
    """Deletion was accepted. It cannot fail: past the deadline it is completed without the host."""

    deadline: datetime
    supersedes: str | None = None
    """The request id of the action under way that ends by this."""


class ServerDeleted(Event, tag="server.deleted", frozen=True, kw_only=True):
    """Guest, claim, addresses, quota and secrets are gone. ``without_host``: the host did not answer, and
    removes the guest when it comes back."""

    without_host: bool = False


EVENTS: tuple[type[Event], ...] = (
    ServerRequested,
    ServerAbandoned,
    ServerPlaced,
    ServerBuilt,
    ServerBuildFailed,
    ServerFailed,
    ServerStopRequested,
    ServerStopped,
    ServerStartRequested,
    ServerStarted,
    ServerRebootRequested,
    ServerRebooted,
    ServerPauseRequested,
    ServerPaused,
    ServerUnpauseRequested,
    ServerUnpaused,
    ServerSuspendRequested,
    ServerSuspended,
    ServerResumeRequested,
    ServerResumed,
    ServerRebuildRequested,
    ServerRebuilt,
    ServerRescueRequested,
    ServerRescued,
    ServerUnrescueRequested,
    ServerUnrescued,
    ServerActionFailed,
    ServerPowerChanged,
    ServerRenamed,
    ServerDescribed,
    ServerHostnameChanged,
    ServerMetadataChanged,
    ServerTagsChanged,
    ServerLocked,
    ServerUnlocked,
    ServerPasswordSet,
    ServerPasswordCleared,
    ServerDeleteRequested,
    ServerDeleted,
)
