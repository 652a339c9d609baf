"""``lightcurve at …`` and ``lightcurve diff``: what was, and what has changed."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.arguments import limit
from ops.settings import load

if TYPE_CHECKING:
    from ops.past import Past

MOMENT = "a time (ISO 8601; UTC if it names no zone), positions (api=12,cell1=345), or now"


def register(commands: Any) -> None:
    """Declare the commands on the parser's ``commands``."""
    at = commands.add_parser("at", help="what was at a moment: servers, a server, a host, access, usages, claims")
    at.add_argument("moment", help=MOMENT)
    things = at.add_subparsers(required=True, metavar="WHAT")

    servers = things.add_parser("servers", help="all servers that there were")
    servers.add_argument("--project", help="name or id")
    servers.add_argument("--host")
    servers.add_argument("--limit", type=limit, default=1000)
    servers.set_defaults(command=_at_servers)

    server = things.add_parser("server", help="one server, and what had been done to it")
    server.add_argument("server", help="name (of then) or id")
    server.set_defaults(command=_at_server)

    host = things.add_parser("host", help="a host, its servers, and what they had claimed")
    host.add_argument("host")
    host.add_argument("--until", metavar="MOMENT", help="all servers that were there between the two")
    host.set_defaults(command=_at_host)

    access = things.add_parser("access", help="who could have read a server's disk, up to then")
    access.add_argument("server", help="name (of then) or id")
    access.set_defaults(command=_at_access)

    usages = things.add_parser("usages", help="what each project used")
    usages.set_defaults(command=_at_usages)

    claims = things.add_parser("claims", help="who had claims on a resource provider")
    claims.add_argument("provider", help="name or id")
    claims.set_defaults(command=_at_claims)

    diff = commands.add_parser("diff", help="what has changed between two moments, by whom, on which request")
    diff.add_argument("before", help=MOMENT)
    diff.add_argument("after", help=MOMENT, nargs="?", default="now")
    diff.add_argument("--server", help="name or id")
    diff.add_argument("--project", help="name or id")
    diff.add_argument("--host", help="servers that were or are there")
    diff.add_argument("--limit", type=limit, default=1000, help="of events that are looked at")
    diff.set_defaults(command=_diff)

    trace = commands.add_parser("trace", help="everything that a request has led to, as a tree")
    trace.add_argument("id", help="of a request, a global request, an event or a server; or a server's name")
    trace.add_argument("--json", action="store_true", help="one document a line for each request")
    trace.set_defaults(command=_trace)

    whatif = commands.add_parser("whatif", help="recorded requests for hosts, had hosts or preferences been others")
    whatif.add_argument("--since", required=True, metavar="MOMENT", help=MOMENT)
    whatif.add_argument("--until", default="now", metavar="MOMENT", help="default: now")
    whatif.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="ram_weight_multiplier=-1")
    whatif.add_argument("--without-host", action="append", default=[], metavar="HOST", help="it gets no new servers")
    whatif.add_argument("--with-host", action="append", default=[], metavar="NAME=VCPUS,MIB,GB", help="one more")
    whatif.add_argument("--picture", type=Path, metavar="FILE.svg", help="of how full hosts are, and would have been")
    whatif.set_defaults(command=_whatif)


def _asking(arguments: argparse.Namespace, ask: "Callable[[Past], Awaitable[None]]") -> None:
    from ops.past import open_past

    async def asked() -> None:
        async with open_past(load(arguments.state_dir / "lightcurve.toml")) as past:
            await ask(past)

    asyncio.run(asked())


def _at_servers(arguments: argparse.Namespace) -> None:
    from ops.at import servers

    _asking(
        arguments,
        lambda past: servers(past, arguments.moment, arguments.project, arguments.host, arguments.limit),
    )


def _at_server(arguments: argparse.Namespace) -> None:
    from ops.at import server

    _asking(arguments, lambda past: server(past, arguments.moment, arguments.server))


def _at_host(arguments: argparse.Namespace) -> None:
    from ops.at import host, host_until

    if arguments.until is None:
        _asking(arguments, lambda past: host(past, arguments.moment, arguments.host))
    else:
        _asking(arguments, lambda past: host_until(past, arguments.moment, arguments.until, arguments.host))


def _at_access(arguments: argparse.Namespace) -> None:
    from ops.access import access

    _asking(arguments, lambda past: access(past, arguments.moment, arguments.server))


def _at_usages(arguments: argparse.Namespace) -> None:
    from ops.at import usages

    _asking(arguments, lambda past: usages(past, arguments.moment))


def _at_claims(arguments: argparse.Namespace) -> None:
    from ops.at import claims

    _asking(arguments, lambda past: claims(past, arguments.moment, arguments.provider))


def _diff(arguments: argparse.Namespace) -> None:
    from ops.diff import Wanted, diff

    wanted = Wanted(arguments.server, arguments.project, arguments.host)
    _asking(arguments, lambda past: diff(past, arguments.before, arguments.after, wanted, arguments.limit))


def _trace(arguments: argparse.Namespace) -> None:
    from ops.show_trace import show

    _asking(arguments, lambda past: show(past, arguments.id, as_json=arguments.json))


def _whatif(arguments: argparse.Namespace) -> None:
    from ops.whatif import wanted, whatif

    asked = wanted(arguments.set, arguments.without_host, arguments.with_host)
    _asking(arguments, lambda past: whatif(past, arguments.since, arguments.until, asked, arguments.picture))
