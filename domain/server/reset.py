"""An administrator says in which state a server is: what is under way ends, and nothing is told to its host.

It is no action, as in Nova, which records none. What the guest really is, its host's next report of it tells.
"""

from domain.errors import Refused
from domain.guest import PowerState
from domain.log.record import Event, Metadata
from domain.server.action import IDLE, Change, Fields, superseded
from domain.server.actions.shelve import SHELVING_OFFLOADING
from domain.server.deletion import DELETING
from domain.server.state import ACTIVE, ERROR, OFFLOADED, Server


class ServerStateReset(Event, tag="server.state_reset", frozen=True, kw_only=True):
    """An administrator has put the server into a vm_state: active, or error."""

    vm_state: str
    supersedes: str | None = None
    """The request id of the action under way that ends by this."""


def request(server: Server, vm_state: str) -> ServerStateReset:
    """Put it into ``active`` or ``error``. Raises Refused (409) where that could never become true."""
    cannot = f"Cannot 'reset state' of instance {server.id}"
    if server.task_state == DELETING:
        raise Refused("server.state", f"{cannot} while it is in task_state {DELETING}; its deletion ends by itself")
    if server.move is not None:
        raise Refused("server.state", f"{cannot} while it is moved, which ends by itself, or by its user's word")
    if server.vm_state == OFFLOADED or server.task_state == SHELVING_OFFLOADING:
        raise Refused("server.state", f"{cannot} while it is on no host, or leaves it; unshelve it")
    if vm_state == ACTIVE and server.launched_at is None:
        raise Refused("server.state", f"{cannot} to {ACTIVE}: it was never launched")
    if vm_state == ACTIVE and server.rescue is not None:
        raise Refused("server.state", f"{cannot} to {ACTIVE}: it starts from a rescue image. Unrescue it")
    return ServerStateReset(vm_state=vm_state, supersedes=superseded(server))


def _reset(server: Server, event: ServerStateReset, _meta: Metadata) -> Fields:
    # The host may never have heard of the action that ends by this: whatever it reports counts from now on.
    fields: Fields = IDLE | {"vm_state": event.vm_state, "last_action": 0, "shelf": None}
    # On its host, it is shelved no longer; of what was being made, and of what was put away, there is no need.
    fields |= {"imaging": None, "unwanted_images": server.images_of_it}
    if event.vm_state == ERROR:
        # As after any failure in doubt: next it starts from its own disk. Addresses without a host are given back.
        return fields | {"rescue": None, "nics": server.nics if server.host else ()}
    # Any power that its host reports is news now, and the server follows it.
    return fields | {"power_state": PowerState.NOSTATE}


CHANGES: dict[type[Event], Change] = {ServerStateReset: _reset}
