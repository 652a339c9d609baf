"""What each command comes to, on a host's hypervisor."""

from collections.abc import Awaitable, Callable
from operator import methodcaller

from domain.errors import HostFailed
from domain.guest import GuestSpec, GuestState
from domain.server.actions.all import ACTIONS
from handlers.host.guidance import Guidance
from handlers.messages import HostCommand
from handlers.ports import Hypervisor

ASK_FIRST = ("rebuild", "adopt")
"""Commands that destroy what a user may still count on: certain is certain."""
ALWAYS_WANTED = ("discard",)
COPIES = ("snapshot", "upload", "receive")
"""Commands that take as long as a disk is large. Wherever they end, what is left can be gone on from, or removed."""
CANNOT_FAIL = ("destroy", "discard")
"""They are tried again until they are done."""

CarryOut = Callable[[Hypervisor, HostCommand], Awaitable[GuestState | None]]


def _spec(command: HostCommand) -> GuestSpec:
    if command.spec is None:
        raise HostFailed("The host was not told what the server shall be.", f"{command.kind} without a spec")
    return command.spec


def _build(host: Hypervisor, command: HostCommand) -> Awaitable[GuestState]:
    return host.build(_spec(command))


def _start(host: Hypervisor, command: HostCommand) -> Awaitable[GuestState]:
    return host.start(_spec(command))


def _reboot_soft(host: Hypervisor, command: HostCommand) -> Awaitable[GuestState]:
    return host.reboot(_spec(command), hard=False, timeout=command.timeout)


def _reboot_hard(host: Hypervisor, command: HostCommand) -> Awaitable[GuestState]:
    return host.reboot(_spec(command), hard=True, timeout=command.timeout)


def _on_the_server(operation: str) -> CarryOut:
    """The hypervisor's operation of that name, which needs to know nothing but the server."""
    assert hasattr(Hypervisor, operation)
    return lambda host, command: methodcaller(operation, command.server_id)(host)


def _receive(host: Hypervisor, command: HostCommand) -> Awaitable[GuestState]:
    if command.peer is None:
        raise HostFailed("The host was not told from where the server comes.", "receive without a peer")
    return host.receive(_spec(command), command.peer)


def _prepare(host: Hypervisor, command: HostCommand, guidance: Guidance) -> Awaitable[GuestState]:
    return guidance.while_wanted(host.prepare(_spec(command)))


def _leave(host: Hypervisor, command: HostCommand, guidance: Guidance) -> Awaitable[GuestState]:
    if command.peer is None:
        raise HostFailed("The host was not told where the server goes.", "leave without a peer")
    return host.leave(command.server_id, command.peer, guidance)


def _snapshot(host: Hypervisor, command: HostCommand) -> Awaitable[GuestState]:
    return host.snapshot(command.server_id, _image_id(command))


def _upload(host: Hypervisor, command: HostCommand) -> Awaitable[GuestState]:
    return host.upload(command.server_id, _image_id(command))


def _image_id(command: HostCommand) -> str:
    if command.image_id is None:
        raise HostFailed("The host was not told which image it makes.", f"{command.kind} without an image")
    return command.image_id


WITHOUT_SPEC = {task.command for action in ACTIONS for task in action.tasks if not task.with_spec}

CARRY_OUT: dict[str, CarryOut] = {command: _on_the_server(command) for command in WITHOUT_SPEC} | {
    "build": _build,
    "stop": lambda host, command: host.stop(command.server_id, command.timeout),
    "start": _start,
    "reboot_soft": _reboot_soft,
    "reboot_hard": _reboot_hard,
    "unpause": _start,
    "resume": _start,
    "rebuild": _build,
    # The spec says from what the guest starts. Into a rescue its own system is shut down in an orderly way first, for
    # its disk is what shall be saved; the rescue system has nothing to lose.
    "rescue": _reboot_soft,
    "unrescue": _reboot_hard,
    "snapshot": _snapshot,
    "upload": _upload,
    "give": lambda host, command: host.give(command.server_id, command.timeout),
    "receive": _receive,
    "recreate": lambda host, command: host.recreate(_spec(command)),
    "adopt": lambda host, command: host.adopt(_spec(command)),
    "discard": lambda host, command: host.discard(command.server_id, command.epoch),
    "destroy": lambda host, command: host.destroy(command.server_id),
}
"""What each command comes to: what needs no more than the server's id is the operation of its name."""


Steered = Callable[[Hypervisor, HostCommand, Guidance], Awaitable[GuestState | None]]
STEERED: dict[str, Steered] = {"prepare": _prepare, "leave": _leave}
"""And what takes so long that it may be wanted otherwise meanwhile."""


async def execute(hypervisor: Hypervisor, command: HostCommand, guidance: Guidance) -> GuestState | None:
    """Carry it out. ``guidance`` tells what is wanted of it by now. Raises HostFailed,
    Unavailable."""
    if command.kind in STEERED:
        return await STEERED[command.kind](hypervisor, command, guidance)
    if command.kind not in CARRY_OUT:
        raise HostFailed(f"This host cannot {command.kind} a server.")
    return await CARRY_OUT[command.kind](hypervisor, command)
