"""``POST /servers/{server_id}/action``: what can be done to a server."""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from adapters.rest.compute.inner_rules import UNLOCK_OVERRIDE
from adapters.rest.compute.servers.access import find
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.policy import forbidden
from adapters.rest.kit.validation import Body, Integer, Versions
from adapters.rest.kit.words import words
from domain.errors import Invalid, Refused
from domain.server.action import Action
from domain.server.actions import reboot as rebooting
from domain.server.actions.crash_dump import TRIGGER_CRASH_DUMP
from domain.server.actions.pause import PAUSE, UNPAUSE
from domain.server.actions.power import START, STOP
from domain.server.actions.rescue import UNRESCUE
from domain.server.actions.suspend import RESUME, SUSPEND
from domain.server.details import NOT_THE_LOCKER
from handlers.accepted import Accepted

operations = Operations()

PATH = "/servers/{server_id}/action"


async def _command(call: Call, command: Callable[..., Awaitable[Accepted]], **more: Any) -> None:
    accepted = await command(call.context, call.params["server_id"], **more)
    await call.settle(accepted)


def plain(action: str, argument: Any = Any) -> type[msgspec.Struct]:
    """The body of an action that takes nothing; as in Nova, what the older ones are given anyway is not looked at."""
    return msgspec.defstruct("Body", [("argument", argument, msgspec.field(name=action))], bases=(Body,))


SIMPLE = (
    (START, "os-start", "servers:start"),
    (STOP, "os-stop", "servers:stop"),
    (PAUSE, "pause", "os-pause-server:pause"),
    (UNPAUSE, "unpause", "os-pause-server:unpause"),
    (SUSPEND, "suspend", "os-suspend-server:suspend"),
    (RESUME, "resume", "os-suspend-server:resume"),
    (UNRESCUE, "unrescue", "os-unrescue"),
    (TRIGGER_CRASH_DUMP, "trigger_crash_dump", "servers:trigger_crash_dump", 17),
)
"""Actions without arguments: the key of the body, the rule of Nova's policy, and the microversion they came with."""


def _declare(action: Action, key: str, rule: str, first: int = 1) -> None:
    body = plain(key) if first == 1 else plain(key, None)

    @operations("POST", PATH, Access.MEMBER, f"os_compute_api:{rule}", action=key, body=body, first=first, status=202)
    async def begin(call: Call) -> None:
        await _command(call, call.services.servers.act, action=action)


for _simple in SIMPLE:
    _declare(*_simple)


class RebootArguments(Body):
    type: Literal["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]


class RebootBody(Body):
    """``{"reboot": {"type": "HARD"}}``."""

    reboot: RebootArguments


class ConsoleArguments(Body):
    length: Integer | Annotated[str, Meta(max_length=11, pattern=r"^-?[0-9]+\Z")] | UnsetType | None = UNSET


class ConsoleBody(Body):
    """``{"os-getConsoleOutput": {"length": 50}}``."""

    arguments: ConsoleArguments = msgspec.field(name="os-getConsoleOutput")


@operations("POST", PATH, Access.MEMBER, "os_compute_api:servers:reboot", action="reboot", body=RebootBody,
            status=202)  # fmt: skip
async def reboot(call: Call) -> None:
    hard = call.body.reboot.type.upper() == "HARD"
    await _command(
        call, call.services.servers.act, action=rebooting.REBOOT, request=partial(rebooting.request, hard=hard)
    )


class LockArguments(Body):
    locked_reason: Annotated[Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType, Versions(73)] = UNSET


class LockBody(Body):
    """``{"lock": null}``, or with a reason from 2.73 on."""

    lock: LockArguments | None


@operations("POST", PATH, Access.MEMBER, "os_compute_api:os-lock-server:lock", action="lock", body=LockBody,
            status=202)  # fmt: skip
async def lock(call: Call) -> None:
    asked: LockArguments | None = call.body.lock
    reason = asked.locked_reason if asked and asked.locked_reason is not UNSET else None
    await _command(call, call.services.details.lock, reason=reason)


@operations("POST", PATH, Access.MEMBER, "os_compute_api:os-lock-server:unlock", action="unlock",
            body=plain("unlock"),
            status=202)  # fmt: skip
async def unlock(call: Call) -> None:
    try:
        await _command(call, call.services.details.unlock, overrides=call.may(UNLOCK_OVERRIDE))
    except Refused as error:
        raise forbidden(UNLOCK_OVERRIDE.name) if error.code == NOT_THE_LOCKER else error from None


class ResetArguments(Body):
    state: Literal["active", "error"]


class ResetBody(Body):
    """``{"os-resetState": {"state": "active"}}``."""

    arguments: ResetArguments = msgspec.field(name="os-resetState")


@operations("POST", PATH, Access.ADMIN, "os_compute_api:os-admin-actions:reset_state", action="os-resetState",
            body=ResetBody, status=202)  # fmt: skip
async def reset_state(call: Call) -> None:
    """End what is under way, and say in which state the server is."""
    await _command(call, call.services.servers.reset, vm_state=call.body.arguments.state)


@operations("POST", PATH, Access.MEMBER, "os_compute_api:os-deferred-delete:force", action="forceDelete",
            status=202)  # fmt: skip
async def force_delete(call: Call) -> None:
    """Delete; as deletion is never deferred here, this is no different from DELETE."""
    await _command(call, call.services.servers.delete)


@operations("POST", PATH, Access.MEMBER, "os_compute_api:os-console-output", action="os-getConsoleOutput",
            body=ConsoleBody)  # fmt: skip
async def console_output(call: Call) -> dict[str, str]:
    """The end of the serial console's log."""
    server = await find(call)
    length = call.body.arguments.length
    lines = None if length in (UNSET, None) else int(length)
    if lines is not None and lines < -1:
        raise Invalid(f"Invalid input for field/attribute length. Value: {lines}. {lines} is less than -1")
    if server.host is None:
        raise Refused("server.not_ready", f"Instance {server.id} is not ready")
    text = await call.services.console_logs.tail(server, None if lines == -1 else lines)
    return {"output": _FORBIDDEN.sub("", text)}


_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Control characters that Nova takes out, since clients print the log as it comes."""

NOT_YET = words(
    "addSecurityGroup changePassword confirmResize createBackup createImage evacuate injectNetworkInfo migrate "
    "os-migrateLive removeSecurityGroup resize restore revertResize shelve "
    "shelveOffload unshelve"
)
"""Nova's other actions."""


class AnyBody(msgspec.Struct):
    """Whatever an action takes that is refused anyway."""


def _declare_refusal(action: str) -> None:
    @operations("POST", PATH, Access.MEMBER, f"os_compute_api:{action}", action=action, body=AnyBody, status=202)
    async def refuse(call: Call) -> None:
        await find(call)
        raise not_implemented(f"The action {action}")


for _action in sorted(NOT_YET):
    _declare_refusal(_action)
