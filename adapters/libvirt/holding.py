"""What a host holds of a guest that moves, and who goes on with it. Everything that asks libvirt blocks.

A migration can lose its source, its target or its agent at any moment. Nothing of it is remembered: both ends are
asked what they hold, as often as one likes, and from that it follows who keeps the guest.
"""

from enum import Enum
from typing import Any

import libvirt

from adapters.libvirt.guests import find_domain


class Holding(Enum):
    """What one host holds."""

    NOTHING = "nothing"
    OFF = "off"
    """A definition, and no QEMU."""
    ON = "on"
    """The guest itself, running or as its user has left it."""
    LEAVING = "leaving"
    """Likewise; it is being sent to another host."""
    COMING = "coming"
    """A QEMU that takes the guest in, and has never run it."""
    SENT = "sent"
    """All of the guest, stopped: the other end may run it already."""
    TORN = "torn"
    """A part: memory was still to follow a guest that ran on at the target, when the connection broke."""


class Keeper(Enum):
    """Who goes on with a guest."""

    SOURCE = "source"
    TARGET = "target"
    NOBODY = "nobody"
    """It is lost, but for its disk."""
    UNDECIDED = "undecided"
    """The migration is under way."""


def holding(conn: Any, home: str, server_id: str) -> Holding:
    """What the host of ``conn`` holds of the server. Raises HostFailed for a guest of others."""
    try:
        if find_domain(conn, home, server_id) is None:
            return Holding.NOTHING
        return _look(conn.lookupByUUIDString(server_id))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            # It has gone between two questions.
            return Holding.NOTHING
        raise


def _look(domain: Any) -> Holding:
    state, reason = domain.state()
    if state in {libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED}:
        return Holding.OFF
    if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED:
        return Holding.TORN
    operation = _operation(domain)
    if operation == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
        return Holding.LEAVING
    if operation == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN:
        return Holding.COMING
    if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_MIGRATION:
        return Holding.SENT
    return Holding.ON


def keeper(source: Holding, target: Holding) -> Keeper:
    """Who goes on with the guest, of which both ends hold this. Pure.

    The target's QEMU runs nothing before all was sent to it, and the source's never runs again once the target's
    does: so a target that has it is right, and else the source is.
    """
    if Holding.TORN in (source, target):
        return Keeper.NOBODY
    if source is Holding.LEAVING or target is Holding.LEAVING:
        return Keeper.UNDECIDED
    if target is Holding.ON:
        return Keeper.TARGET
    if source in {Holding.ON, Holding.SENT, Holding.OFF}:
        return Keeper.SOURCE
    return Keeper.TARGET if target is Holding.OFF else Keeper.NOBODY


def go_on(conn: Any, home: str, server_id: str) -> None:
    """Have a guest run that was stopped to be sent; harmless for one that was not."""
    if holding(conn, home, server_id) is Holding.SENT:
        conn.lookupByUUIDString(server_id).resume()


def let_go(conn: Any, home: str, server_id: str) -> None:
    """End what the host holds of a guest that another has, and forget it; harmless if it holds nothing.

    Its files stay: on shared storage they are the other's.
    """
    found = find_domain(conn, home, server_id)
    if found is not None:
        found.remove()


def _operation(domain: Any) -> int:
    """What libvirt is doing with it, as VIR_DOMAIN_JOB_OPERATION_*."""
    try:
        return int(domain.jobStats().get("operation", libvirt.VIR_DOMAIN_JOB_OPERATION_UNKNOWN))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
            # Statistics are the source's to tell.
            return int(libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN)
        raise
