"""``lightcurve host …``: which hosts may take part, and what they prove themselves with."""

import argparse
import asyncio
import os
import sys
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain.errors import Invalid, Unavailable, not_found
from ops import host_moves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from handlers.fleet.hosts import Hosts
    from ops.roles.plane import Plane
    from ops.settings import Settings
    from ops.stack import Stack


def register(commands: Any) -> None:
    """Declare the commands on the parser's ``commands``."""
    host = commands.add_parser("host", help="add, join, list, remove, address, exec; evacuate, drain")
    of_host = host.add_subparsers(required=True, metavar="COMMAND")

    add = of_host.add_parser("add", help="make a host's credential, and print the token with which it joins")
    add.add_argument("name", help="of the host; it can be no other's")
    add.add_argument("--renew", action="store_true", help="it has one, and shall get another; the old one ends")
    add.add_argument("--nats-url", help="as the host reaches it; default: the configuration's")
    add.add_argument("--image-url", help="likewise")
    add.add_argument("--metadata-url", help="likewise")
    add.add_argument(
        "--print-account", action="store_true", help="and print the account for NATS servers that are not ours"
    )
    add.set_defaults(command=_add)

    join = of_host.add_parser(
        "join", help="on the host: write its configuration; without a token it is read from stdin"
    )
    join.add_argument("token", nargs="?", help="better through stdin: others on the machine can see arguments")
    join.set_defaults(command=_join)

    listing = of_host.add_parser("list", help="every host: its credential, whether it lives, what it was refused")
    listing.set_defaults(command=_list)

    remove = of_host.add_parser("remove", help="end a host's credential; what the log says of it stays")
    remove.add_argument("name")
    remove.add_argument("--although-alive", action="store_true", help="it gives signs of life, and shall go")
    remove.set_defaults(command=_remove)

    inside = of_host.add_parser("exec", help="run a command inside a host of `up --hosts`: its virsh, its ip")
    inside.add_argument("name")
    inside.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="default: a shell")
    inside.set_defaults(command=_exec)

    host_moves.register(of_host)

    address = of_host.add_parser("address", help="a host has moved: the console proxies go there from now on")
    address.add_argument("name")
    address.add_argument("address")
    address.set_defaults(command=_address)


def _stack(arguments: argparse.Namespace) -> "tuple[Stack, Settings]":
    from ops.stack import Stack

    stack = Stack(arguments.state_dir)
    return stack, stack.settings()


def _add(arguments: argparse.Namespace) -> None:
    from ops.admission import admit
    from ops.embedded.nats_accounts import account_of, host_account, question_import
    from ops.joining import JoinToken, encode

    stack, settings = _stack(arguments)
    key = stack.host_keys.add(arguments.name, renew=arguments.renew)
    ca = settings.nats.ca_file
    token = JoinToken(
        host=key.name,
        cell=settings.cell,
        nats_url=arguments.nats_url or settings.nats.url,
        user=key.credentials.user,
        password=key.credentials.password,
        secret=key.secret.decode(),
        image_url=arguments.image_url or settings.compute.image_url,
        metadata_url=arguments.metadata_url or settings.metadata.url,
        nats_ca=ca.read_text() if ca else None,
    )
    if not asyncio.run(admit(stack.nats(settings), key)):
        print("The stack's own NATS does not run; it knows the host at its next start.", file=sys.stderr)
    if arguments.print_account:
        account = account_of(key.name, key.credentials)
        print("# Among the accounts:\n" + host_account(settings.cell, account))
        print(f"# Among the imports of the account CONTROL:\n      {question_import(settings.cell, account)}\n")
    print(encode(token))


def _join(arguments: argparse.Namespace) -> None:
    from ops.joining import decode, join

    token = decode(arguments.token or sys.stdin.readline())
    config = join(token, Path(arguments.state_dir))
    print(f"Host {token.host} is configured in {config}. Start it with: lightcurve run compute --config {config}")


def _list(arguments: argparse.Namespace) -> None:
    from ops.tables import ago, table

    stack, settings = _stack(arguments)
    now = datetime.now(UTC)
    keys = {key.name: ago((now - key.made_at).total_seconds()) for key in stack.host_keys}
    rows = {name: (name, made, "never", "", "", "", "") for name, made in keys.items()}
    for known in asyncio.run(_known(settings)):
        rows[known[0]] = (known[0], keys.get(known[0], "none"), *known[1:])
    table(("HOST", "CREDENTIAL", "ENROLLED", "ADDRESS", "HEARD", "REFUSED", "REASON"), sorted(rows.values()))


async def _known(settings: "Settings") -> list[tuple[str, str, str, str, str, str]]:
    from domain.fleet import host as hosts
    from handlers.log.disorder import Disorder
    from handlers.log.registry import Registry
    from ops.roles.plane import COMMAND_SECONDS, open_plane
    from ops.status import beats_now, refusals
    from ops.tables import ago

    async with open_plane(settings, "host-list", COMMAND_SECONDS) as plane:
        registry = Registry(plane.store, plane.stamp, [hosts.KIND], Disorder())
        await registry.read_once()
        beats = await beats_now(plane.liveness)
    refused = refusals(beats.values())
    now = datetime.now(UTC)
    found = []
    for host in registry.all("host"):
        beat = beats.get(f"compute/{host.name}")
        times, reason = refused.get(host.name, (0, ""))
        heard = ago((now - beat.time).total_seconds()) if beat else "never"
        enrolled = ago((now - host.enrolled_at).total_seconds())
        found.append((host.name, enrolled, host.description.host_ip, heard, str(times or ""), reason))
    return found


def _remove(arguments: argparse.Namespace) -> None:
    stack, settings = _stack(arguments)
    if not arguments.although_alive:
        # Where the stack does not run, nobody can say that it lives.
        with suppress(Unavailable):
            asyncio.run(_check_dead(settings, arguments.name))
    stack.host_keys.remove(arguments.name)
    if not stack.nats(settings).reload():
        print("The stack's own NATS does not run; what it is told at its next start is without the host.")
    try:
        asyncio.run(_forget(settings, arguments.name))
    except Unavailable as error:
        print(f"What is held for guests that were made anew elsewhere stays held: {error.message}", file=sys.stderr)
    print(f"Host {arguments.name} can do nothing any more. Its servers stay where they are, in the log and on it;")
    print(f"they are made anew on other hosts by: lightcurve host evacuate {arguments.name}")


async def _check_dead(settings: "Settings", name: str) -> None:
    """Raises Refused for one that lives, and was not declared dead; Unavailable."""
    async with _hosts(settings, "host-remove") as (hosts, plane):
        if not hosts.fenced(name):
            await host_moves.check_dead(plane, name, f"have its servers leave it: lightcurve host drain {name}")


async def _forget(settings: "Settings", name: str) -> None:
    async with _hosts(settings, "host-remove") as (hosts, plane):
        await hosts.forget(plane.stamp.own_context(), name)


def _exec(arguments: argparse.Namespace) -> None:
    from ops.stack import Stack

    stack = Stack(arguments.state_dir)
    if arguments.name not in stack.embedded_hosts.names:
        raise not_found("Host in namespaces", arguments.name)
    host = stack.embedded_hosts.host(arguments.name)
    if not host.is_made:
        raise Unavailable(f"host {host.name} has not been started; start it with: lightcurve up")
    words = host.enter(*(arguments.words or [os.environ.get("SHELL", "/bin/sh")]))
    os.execvp(words[0], words)  # noqa: S606 - that is what it is for


def _address(arguments: argparse.Namespace) -> None:
    from ipaddress import ip_address

    try:
        address = str(ip_address(arguments.address))
    except ValueError:
        raise Invalid(f"{arguments.address!r} is no IP address.") from None
    _, settings = _stack(arguments)
    asyncio.run(_move(settings, arguments.name, address))
    print(f"Host {arguments.name} is at {address}.")


async def _move(settings: "Settings", name: str, address: str) -> None:
    async with _hosts(settings, "host-address") as (hosts, plane):
        await hosts.move(plane.stamp.own_context(), name, address)


@asynccontextmanager
async def _hosts(settings: "Settings", role: str) -> "AsyncIterator[tuple[Hosts, Plane]]":
    from domain.fleet import host
    from handlers.fleet.hosts import Hosts
    from handlers.log.disorder import Disorder
    from handlers.log.registry import Registry
    from ops.roles.plane import COMMAND_SECONDS, open_plane

    async with open_plane(settings, role, COMMAND_SECONDS) as plane:
        registry = Registry(plane.store, plane.stamp, [host.KIND], Disorder())
        await registry.read_once()
        yield Hosts(registry), plane
