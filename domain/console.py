"""Console grants: who may see which screen, until when, and who did.

A grant's id is the SHA-256 of its token: whoever shows the token is found by one look into the log, and nobody can
make a token of what the log says. https://docs.openstack.org/nova/latest/admin/remote-console-access.html
"""

import hashlib
from datetime import datetime, timedelta

import msgspec

from domain.errors import Refused
from domain.guest import PowerState
from domain.log.kind import Kind, Snapshots, unfoldable
from domain.log.record import AggregateId, Event, Metadata
from domain.server.actions.rebuild import REBUILDING
from domain.server.deletion import DELETING
from domain.server.state import DELETED, STOPPED, SUSPENDED, Server

VNC, SPICE, SERIAL = "vnc", "spice", "serial"
PROTOCOL_OF = {"novnc": VNC, "xvpvnc": VNC, "spice-html5": SPICE, "spice-direct": SPICE, "serial": SERIAL}
"""The types of Nova's that have a protocol of ours; a host may have no such device."""
OPTIONAL = frozenset({SPICE})
"""Protocols that only some hosts give their guests: no token is given out before the host has been asked."""
PROXY_LOST, PROXY_STOPPED = "proxy_lost", "proxy_stopped"
"""Why a session ended for which nobody is to blame but its proxy."""
MAX_REFUSALS = 20
"""So many refusals of one grant are recorded: its holder cannot fill the log."""


class ConsoleGranted(Event, tag="console.granted", frozen=True, kw_only=True):
    """A user was shown a token for a server's console."""

    server_id: str
    console_type: str
    epoch: int
    """Of the server's assignment: a server that moves takes no viewer along."""
    expires_at: datetime
    """Until then a session can be opened; an open one may last longer."""
    user_id: str | None = None
    project_id: str | None = None
    launched_at: datetime | None = None
    """Of the server: one that is rebuilt is launched anew."""
    single_use: bool = False


class ConsoleOpened(Event, tag="console.opened", frozen=True, kw_only=True):
    """Somebody showed the token, and sees the console."""

    server_id: str
    session_id: str
    address: str
    """Where from."""
    proxy: str = ""
    """Which one carries it: the process's name, and what tells this start of it from others."""


class ConsoleClosed(Event, tag="console.closed", frozen=True, kw_only=True):
    """A session has ended. With the reason ``proxy_lost`` its proxy is gone and cannot say how: ``seconds`` last
    until its last sign of life (0, if that was before), and the bytes, which nobody knows, are 0."""

    server_id: str
    session_id: str
    seconds: float
    bytes_in: int
    """From the viewer to the guest."""
    bytes_out: int
    reason: str = ""
    """Why it ended, where it did not just end: the code of an error, PROXY_LOST, PROXY_STOPPED, …"""


class ConsoleRefused(Event, tag="console.refused", frozen=True, kw_only=True):
    """Somebody showed the token, and was refused."""

    server_id: str
    code: str
    address: str


class ConsoleRevoked(Event, tag="console.revoked", frozen=True, kw_only=True):
    """The token is void; its sessions end."""

    server_id: str


class ConsoleGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A grant as its events tell."""

    server_id: str
    console_type: str
    epoch: int
    expires_at: datetime
    user_id: str | None
    project_id: str | None
    launched_at: datetime | None
    single_use: bool
    opened: int = 0
    first_session: str | None = None
    """Which redeemed it; None: nobody has."""
    refused: int = 0
    revoked: bool = False
    sessions: dict[str, datetime] = {}
    """Those open now, and since when."""

    @property
    def joins(self) -> bool:
        """Whether the next one to show it can only join the session that has redeemed it."""
        return self.single_use and self.opened > 0


def token_id(token: str) -> str:
    """What the log knows of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def aggregate(grant_id: str) -> AggregateId:
    return AggregateId("console", grant_id)


def grant(
    server: Server, console_type: str, *, user_id: str | None, project_id: str | None, now: datetime,
    life: timedelta, single_use: bool,
) -> ConsoleGranted:  # fmt: skip
    """Let a user see a server that runs on a host. Raises Refused (409) in Nova's words if it is on none yet, or has
    no screen now because it is off or asleep."""
    absent = server.host is None or server.vm_state == DELETED or server.launched_at is None
    dark = server.vm_state in (STOPPED, SUSPENDED) or server.power_state in (PowerState.SHUTDOWN, PowerState.CRASHED)
    if absent or dark or server.task_state == REBUILDING:
        raise Refused("server.not_ready", f"Instance {server.id} is not ready")
    return ConsoleGranted(
        server_id=server.id,
        console_type=console_type,
        epoch=server.epoch,
        expires_at=now + life,
        user_id=user_id,
        project_id=project_id,
        launched_at=server.launched_at,
        single_use=single_use,
    )


def check(held: ConsoleGrant, server: Server | None) -> None:
    """Whether the grant still stands for what it was given; raises Refused (403) if not."""
    if held.revoked:
        raise _refused("revoked", "This console was revoked.")
    if server is None or server.vm_state == DELETED or server.task_state == DELETING:
        raise _refused("server_gone", "The server is gone.")
    if server.epoch != held.epoch or server.host is None:
        raise _refused("server_moved", "The server has moved; ask for its console anew.")
    if server.launched_at != held.launched_at or server.task_state == REBUILDING:
        raise _refused("server_rebuilt", "The server was built anew; ask for its console again.")


def check_opening(held: ConsoleGrant | None, server: Server | None, now: datetime) -> ConsoleGrant:
    """The grant, if a session may be opened with it now; raises Refused (403)."""
    if held is not None:
        check(held, server)
    return check_token(held, now)


def check_token(held: ConsoleGrant | None, now: datetime) -> ConsoleGrant:
    """The same, as far as the token itself tells."""
    if held is None:
        raise _refused("unknown", "This token is not valid.")
    if now >= held.expires_at:
        raise _refused("expired", "This token has expired.")
    # A SPICE viewer opens a connection for each of its channels, all with one token.
    joinable = held.first_session in held.sessions and PROTOCOL_OF.get(held.console_type) == SPICE
    if held.joins and not joinable:
        raise _refused("used", "This token has been used.")
    return held


def refuse(held: ConsoleGrant | None, code: str, address: str) -> ConsoleRefused | None:
    """Record a refusal; None once there were many."""
    if held is None or held.refused >= MAX_REFUSALS:
        return None
    return ConsoleRefused(server_id=held.server_id, code=code, address=address)


def close(held: ConsoleGrant | None, closed: ConsoleClosed) -> ConsoleClosed | None:
    """End a session; None if it is not open: it was closed already, by whoever was quicker."""
    return closed if held and closed.session_id in held.sessions else None


def lose(held: ConsoleGrant | None, session_id: str, last_sign: datetime | None) -> ConsoleClosed | None:
    """End a session whose proxy is gone, and was heard last at ``last_sign`` (None: never).

    Returns None if the session is not open.
    """
    if held is None or session_id not in held.sessions:
        return None
    began = held.sessions[session_id]
    # Two clocks told these times.
    seconds = max(0.0, ((last_sign or began) - began).total_seconds())
    return ConsoleClosed(
        server_id=held.server_id,
        session_id=session_id,
        seconds=round(seconds, 3),
        bytes_in=0,
        bytes_out=0,
        reason=PROXY_LOST,
    )


def revoke(held: ConsoleGrant | None) -> ConsoleRevoked | None:
    """Make the token void; None if it is, or never was one."""
    return None if held is None or held.revoked else ConsoleRevoked(server_id=held.server_id)


def _refused(code: str, message: str) -> Refused:
    return Refused(f"console.{code}", message, status=403)


def evolve(state: ConsoleGrant | None, event: Event, meta: Metadata) -> ConsoleGrant:
    if isinstance(event, ConsoleGranted):
        return ConsoleGrant(
            server_id=event.server_id,
            console_type=event.console_type,
            epoch=event.epoch,
            expires_at=event.expires_at,
            user_id=event.user_id,
            project_id=event.project_id,
            launched_at=event.launched_at,
            single_use=event.single_use,
        )
    assert state is not None
    replace = msgspec.structs.replace
    match event:
        case ConsoleOpened():
            first = state.first_session or event.session_id
            sessions = state.sessions | {event.session_id: meta.time}
            return replace(state, opened=state.opened + 1, first_session=first, sessions=sessions)
        case ConsoleClosed():
            sessions = {each: since for each, since in state.sessions.items() if each != event.session_id}
            return replace(state, sessions=sessions)
        case ConsoleRefused():
            return replace(state, refused=state.refused + 1)
        case ConsoleRevoked():
            return replace(state, revoked=True)
    raise unfoldable(event)


KIND = Kind(
    "console",
    (ConsoleGranted, ConsoleOpened, ConsoleClosed, ConsoleRefused, ConsoleRevoked),
    evolve,
    snapshots=Snapshots(ConsoleGrant, 1, lambda grant: 1024 + 256 * len(grant.sessions)),
)
