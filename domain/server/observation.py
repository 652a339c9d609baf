"""A guest that changes by itself."""

from domain.guest import PowerState
from domain.log.record import Event, Metadata
from domain.server.action import Change, Fields
from domain.server.state import FOLLOWS_POWER, VM_STATE_OF_POWER, Server, assigned


class ServerPowerChanged(Event, tag="server.power_changed", frozen=True, kw_only=True):
    """The guest's power changed without an action: from inside, or by the host's own tools."""

    epoch: int
    power_state: PowerState


def power_observed(server: Server | None, epoch: int, power_state: PowerState) -> ServerPowerChanged | None:
    """The guest's power is this. While an action is under way its own report tells instead."""
    server = assigned(server, epoch)
    if server is None or server.task_state is not None:
        return None
    if server.launched_at is None or server.power_state == power_state:
        return None
    return ServerPowerChanged(epoch=epoch, power_state=power_state)


def _power_changed(server: Server, event: ServerPowerChanged, _meta: Metadata) -> Fields:
    follows = server.vm_state in FOLLOWS_POWER
    vm_state = VM_STATE_OF_POWER.get(event.power_state, server.vm_state) if follows else server.vm_state
    return {"power_state": event.power_state, "vm_state": vm_state}


CHANGES: dict[type[Event], Change] = {ServerPowerChanged: _power_changed}
