"""The console log of a server, which Nova shows by an action."""

import re
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from adapters.rest.compute.servers.access import find
from adapters.rest.compute.servers.actions.simple import PATH
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Integer
from domain.errors import Invalid, Refused

operations = Operations()

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Control characters that Nova takes out, since clients print the log as it comes."""


class ConsoleArguments(Body):
    length: Integer | Annotated[str, Meta(max_length=11, pattern=r"^-?[0-9]+\Z")] | UnsetType | None = UNSET


class ConsoleBody(Body):
    """``{"os-getConsoleOutput": {"length": 50}}``."""

    arguments: ConsoleArguments = msgspec.field(name="os-getConsoleOutput")


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
    text = await call.services.consoles.logs.tail(server, None if lines == -1 else lines)
    return {"output": _UNPRINTABLE.sub("", text)}
