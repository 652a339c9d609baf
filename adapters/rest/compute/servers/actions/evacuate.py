"""Evacuating a server: its host is dead, and another makes its guest anew.

https://docs.openstack.org/api-ref/compute/#evacuate-server-evacuate-action
"""

from typing import Any

from msgspec import UNSET, UnsetType

from adapters.rest.compute.servers import choices
from adapters.rest.compute.servers.actions.simple import PATH, command, plain
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Text255, boolean
from domain.errors import Invalid, Refused
from handlers.servers.requests import Evacuation

operations = Operations()

RULE = "os_compute_api:os-evacuate"


class Arguments(Body):
    host: Text255 | UnsetType = UNSET
    adminPass: Text255 | UnsetType = UNSET  # noqa: N815 - Nova's name


class FirstArguments(Body):
    onSharedStorage: bool | Text255  # noqa: N815 - Nova's name
    host: Text255 | UnsetType = UNSET
    adminPass: Text255 | UnsetType = UNSET  # noqa: N815


class ForcedArguments(Arguments):
    force: bool | Text255 = False


BODIES = (
    (FirstArguments, 1, since.STORAGE_FOUND_OUT - 1),
    (Arguments, since.STORAGE_FOUND_OUT, since.FORCED_EVACUATION - 1),
    (ForcedArguments, since.FORCED_EVACUATION, since.NO_FORCED_LIVE_MIGRATION - 1),
    (Arguments, since.NO_FORCED_LIVE_MIGRATION, None),
)
"""What the body holds, from one microversion to another."""


def _declare(arguments: type[Body], first: int, last: int | None) -> None:
    body = plain("evacuate", arguments)
    more = {} if last is None else {"last": last}

    @operations("POST", PATH, Access.ADMIN, RULE, action="evacuate", body=body, first=first, **more)
    async def evacuate(call: Call) -> Any:
        """Begin an evacuation. Whether the disk can be seen from the new host is found out there."""
        asked = call.body.argument
        host = None if asked.host is UNSET else asked.host
        _check(call, asked, host)
        password = choices.password(asked.adminPass)
        wanted = Evacuation(host=host, admin_pass=password, stopped=call.minor >= since.EVACUATED_STOPPED)
        await command(call, call.services.servers.evacuate, wanted=wanted, is_dead=lambda name: _is_dead(call, name))
        return {"adminPass": password} if call.minor < since.STORAGE_FOUND_OUT else None


for _body in BODIES:
    _declare(*_body)


def _check(call: Call, asked: Any, host: str | None) -> None:
    if call.minor < since.STORAGE_FOUND_OUT:
        shared = boolean("onSharedStorage", asked.onSharedStorage)
        if shared and asked.adminPass is not UNSET:
            raise Invalid("admin password can't be changed on existing disk")
    elif isinstance(asked, ForcedArguments) and boolean("force", asked.force) and host is None:
        raise Invalid("Can't force to a non-provided destination")
    if host is not None and call.services.fleet.named(host) is None:
        raise Refused("host.not_found", f"Compute host {host} not found.", status=404)


def _is_dead(call: Call, name: str) -> bool:
    """Whether a host was declared dead, or was not heard lately."""
    host = call.services.fleet.named(name)
    return host is None or host.forced_down or not call.services.liveness.host_up(name)
