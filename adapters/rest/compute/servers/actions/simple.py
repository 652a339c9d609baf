"""``POST /servers/{server_id}/action``: what can be done to a server."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal

import msgspec

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body
from domain.server import reset
from domain.server.action import Action
from domain.server.actions import reboot as rebooting
from domain.server.actions.crash_dump import TRIGGER_CRASH_DUMP
from domain.server.actions.pause import PAUSE, UNPAUSE
from domain.server.actions.power import START, STOP
from domain.server.actions.rescue import UNRESCUE
from domain.server.actions.suspend import RESUME, SUSPEND
from handlers.accepted import Accepted

operations = Operations()

PATH = "/servers/{server_id}/action"


async def command(call: Call, command: Callable[..., Awaitable[Accepted]], **more: Any) -> None:
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
        await command(call, call.services.servers.act, action=action)


for _simple in SIMPLE:
    _declare(*_simple)


class RebootArguments(Body):
    type: Literal["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]


class RebootBody(Body):
    """``{"reboot": {"type": "HARD"}}``."""

    reboot: RebootArguments


@operations("POST", PATH, Access.MEMBER, "os_compute_api:servers:reboot", action="reboot", body=RebootBody,
            status=202)  # fmt: skip
async def reboot(call: Call) -> None:
    hard = call.body.reboot.type.upper() == "HARD"
    await command(
        call, call.services.servers.act, action=rebooting.REBOOT, request=partial(rebooting.request, hard=hard)
    )


class ResetArguments(Body):
    state: Literal["active", "error"]


class ResetBody(Body):
    """``{"os-resetState": {"state": "active"}}``."""

    arguments: ResetArguments = msgspec.field(name="os-resetState")


@operations("POST", PATH, Access.ADMIN, "os_compute_api:os-admin-actions:reset_state", action="os-resetState",
            body=ResetBody, status=202)  # fmt: skip
async def reset_state(call: Call) -> None:
    """End what is under way, and say in which state the server is."""
    decide = partial(reset.request, vm_state=call.body.arguments.state)
    await command(call, call.services.servers.change, decide=decide)


@operations("POST", PATH, Access.MEMBER, "os_compute_api:os-deferred-delete:force", action="forceDelete",
            status=202)  # fmt: skip
async def force_delete(call: Call) -> None:
    """Delete; as deletion is never deferred here, this is no different from DELETE."""
    await command(call, call.services.servers.delete)
