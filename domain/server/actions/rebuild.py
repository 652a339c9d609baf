"""Rebuild: a fresh disk; the server keeps its host, its claim and its addresses."""

from datetime import timedelta

from domain.guest import ImageSource
from domain.log.record import Metadata
from domain.server import wish
from domain.server.action import Action, ActionDoneAs, ActionRequested, Fields, Task
from domain.server.limits import check_metadata
from domain.server.state import ACTIVE, ERROR, STOPPED, VM_STATE_OF_POWER, Server

REBUILDING = "rebuilding"


class ServerRebuildRequested(ActionRequested, tag="server.rebuild_requested", frozen=True, kw_only=True):
    """A rebuild was accepted: a fresh disk from ``image``. The fields are the server's from now on, all of them,
    also those that stay as they were."""

    image: ImageSource
    name: str
    metadata: dict[str, str]
    description: str | None
    key_name: str | None
    public_key: str | None
    hostname: str | None
    secrets: str | None
    """User data, password and personality, sealed."""
    access_ipv4: str | None = None
    access_ipv6: str | None = None


RENEWED = tuple(name for name in wish.FIELDS if name in ServerRebuildRequested.__struct_fields__)
"""The fields of a wish that a rebuild may change."""


class ServerRebuilt(ActionDoneAs, tag="server.rebuilt", frozen=True, kw_only=True):
    """The guest has its fresh disk; it runs, or is off as it was before."""


def request(server: Server, event: ServerRebuildRequested) -> ServerRebuildRequested:
    """Begin a rebuild. Raises Refused (409; 403 for more metadata than a server may have)."""
    REBUILD.check(server)
    check_metadata(event.metadata)
    return event


def _begin(server: Server, event: ServerRebuildRequested, _meta: Metadata) -> Fields:
    renewed = {name: getattr(event, name) for name in RENEWED}
    return renewed | {
        "generation": server.generation + 1,
        "hostname": event.hostname or server.hostname,
        "secrets": event.secrets,
        "has_key": server.has_key or event.secrets is not None,
        # What the old system posted opens nothing in the new one, which may post its own.
        "sealed_password": None,
    }


def _end(_server: Server, event: ServerRebuilt, meta: Metadata) -> Fields:
    vm_state = VM_STATE_OF_POWER.get(event.power_state, ACTIVE)
    return {"vm_state": vm_state, "power_state": event.power_state, "launched_at": meta.time}


REBUILD = Action(
    name="rebuild",
    step="compute_rebuild_instance",
    requested=ServerRebuildRequested,
    done=ServerRebuilt,
    allowed=(ACTIVE, STOPPED, ERROR),
    time=timedelta(minutes=10),
    tasks=(Task(REBUILDING, "rebuild", ServerRebuilt.of, in_doubt=True),),
    begin=_begin,
    end=_end,
)
