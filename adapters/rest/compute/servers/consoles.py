"""Remote consoles: where a server's screen or serial port can be seen, and until when.

https://docs.openstack.org/api-ref/compute/#server-consoles-servers-remote-consoles-server-action-console
"""

from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from adapters.rest.compute.servers.access import find
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body
from domain.errors import Invalid, Refused

operations = Operations()

ACTION = "/servers/{server_id}/action"
RULE = "os_compute_api:os-remote-consoles"
TOKENS = "os_compute_api:os-console-auth-tokens"
PAGES = {"novnc": "vnc_lite.html", "spice-html5": "spice/spice_auto.html"}
"""Of the web clients, on a console proxy."""

TYPES = {
    "vnc": {"novnc": 6, "xvpvnc": 6},
    "spice": {"spice-html5": 6, "spice-direct": 99},
    "rdp": {"rdp-html5": 6},
    "serial": {"serial": 6},
    "mks": {"webmks": 8},
}
"""The types of each protocol, and the microversion from which each exists."""


class NewConsole(Body):
    protocol: Literal["vnc", "spice", "rdp", "serial", "mks"]
    type: Literal["novnc", "xvpvnc", "spice-html5", "spice-direct", "rdp-html5", "serial", "webmks"]


class NewConsoleBody(Body):
    """``{"remote_console": {"protocol": "vnc", "type": "novnc"}}``."""

    remote_console: NewConsole


@operations(
    "POST",
    "/servers/{server_id}/remote-consoles",
    Access.MEMBER,
    RULE,
    first=since.REMOTE_CONSOLES,
    body=NewConsoleBody,
)
async def create(call: Call) -> Any:
    """A new console: its URL holds a token that is shown this once."""
    wanted: NewConsole = call.body.remote_console
    first = TYPES[wanted.protocol].get(wanted.type)
    if first is None or call.minor < first:
        raise Invalid(
            f"Invalid input for field/attribute remote_console. Value: {{'protocol': '{wanted.protocol}', "
            f"'type': '{wanted.type}'}}. The protocol has no such type."
        )
    url = await _url(call, wanted.type)
    return {"remote_console": {"protocol": wanted.protocol, "type": wanted.type, "url": url}}


async def _url(call: Call, console_type: str) -> str:
    server = await find(call)
    base, direct = call.services.consoles.url, call.services.consoles.spice_direct_url
    bare = {"serial": f"{base.replace('http', 'ws', 1)}/"} | ({"spice-direct": direct} if direct else {})
    if console_type not in bare and console_type not in PAGES:
        raise Refused("console.unavailable", f"Unavailable console type {console_type}.", status=400)
    token = await call.services.consoles.grants.issue(call.context, server, console_type)
    if console_type in bare:
        return f"{bare[console_type]}?{urlencode({'token': token})}"
    return f"{base}/{PAGES[console_type]}?path={quote(f'?token={token}', safe='')}"


class VncArguments(Body):
    type: Literal["novnc", "xvpvnc"]


class SpiceArguments(Body):
    type: Literal["spice-html5"]


class RdpArguments(Body):
    type: Literal["rdp-html5"]


class SerialArguments(Body):
    type: Literal["serial"]


class VncBody(Body):
    """``{"os-getVNCConsole": {"type": "novnc"}}``."""

    arguments: VncArguments = msgspec.field(name="os-getVNCConsole")


class SpiceBody(Body):
    """``{"os-getSPICEConsole": {"type": "spice-html5"}}``."""

    arguments: SpiceArguments = msgspec.field(name="os-getSPICEConsole")


class RdpBody(Body):
    """``{"os-getRDPConsole": {"type": "rdp-html5"}}``."""

    arguments: RdpArguments = msgspec.field(name="os-getRDPConsole")


class SerialBody(Body):
    """``{"os-getSerialConsole": {"type": "serial"}}``."""

    arguments: SerialArguments = msgspec.field(name="os-getSerialConsole")


def _declare_old(action: str, body: type[msgspec.Struct]) -> None:
    @operations("POST", ACTION, Access.MEMBER, RULE, action=action, body=body, last=since.REMOTE_CONSOLES - 1)
    async def old(call: Call) -> Any:
        wanted: str = call.body.arguments.type
        return {"console": {"type": wanted, "url": await _url(call, wanted)}}


for _action, _body in (
    ("os-getVNCConsole", VncBody),
    ("os-getSPICEConsole", SpiceBody),
    ("os-getRDPConsole", RdpBody),
    ("os-getSerialConsole", SerialBody),
):
    _declare_old(_action, _body)


@operations("GET", "/os-console-auth-tokens/{token}", Access.ADMIN, TOKENS)
async def token_leads_to(call: Call) -> Any:
    """Where a token leads: for console proxies of other makes."""
    try:
        held, server = await call.services.consoles.grants.redeemable(call.params["token"])
    except Refused:
        raise Refused("console.token_not_found", "Token not found", status=404) from None
    if call.minor < since.CONSOLE_TOKENS_OF_ALL:
        # Until then Nova told of RDP consoles only.
        raise Refused("console.type", "The requested console type details are not accessible", status=401)
    place = await call.services.consoles.grants.address(server, held.console_type)
    document: dict[str, Any] = {
        "instance_uuid": server.id,
        "host": place.host,
        "port": place.port or None,
        "internal_access_path": place.greeting.strip() or None,
    }
    if call.minor >= since.SPICE_DIRECT:
        document["tls_port"] = place.tls_port or None
    return {"console": document}


PASSWORD = "/servers/{server_id}/os-server-password"  # noqa: S105 - a path


@operations("GET", PASSWORD, Access.MEMBER, "os_compute_api:os-server-password:show")
async def password(call: Call) -> Any:
    """What the guest posted, encrypted for the owner of its SSH key; empty if nothing."""
    return {"password": await call.services.passwords.read(await find(call))}


@operations("DELETE", PASSWORD, Access.MEMBER, "os_compute_api:os-server-password:clear", status=204)
async def clear_password(call: Call) -> None:
    """Forget it, here; the guest keeps its password."""
    server = await find(call)
    accepted = await call.services.passwords.clear(call.context, server.id)
    await call.settle(accepted)
