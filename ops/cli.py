"""The ``lightcurve`` command."""

import argparse
import asyncio
import errno
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from domain.errors import Invalid, LightcurveError
from ops import (
    evidence_commands,
    garbage,
    host_commands,
    identity_commands,
    logs,
    notify,
    past_commands,
    reader_commands,
)
from ops.arguments import limit, simulated_hosts
from ops.listening import allow_many_files
from ops.settings import Settings, load

STATE_DIR = "LIGHTCURVE_STATE_DIR"
ROLES = ("api", "conductor", "projector", "placement", "metadata", "console", "compute", "simulated")

DISK_SAYS_NO = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""It is full, or may only be read: nothing of ours is wrong."""

Role = Callable[[Settings, str], Awaitable[None]]


def main() -> None:
    """Entry point: errors that we foresee are one line, not a traceback."""
    # What is not made for others on purpose is nobody else's to read.
    os.umask(0o077)
    for word in sys.argv[1:]:
        if not _is_text(word):
            sys.exit(f"lightcurve: {word!r} is not UTF-8.")
    arguments = _parser().parse_args(evidence_commands.joined(sys.argv[1:]))
    try:
        arguments.command(arguments)
    except LightcurveError as error:
        sys.exit(f"lightcurve: {error.message}")
    except ExceptionGroup as group:
        sys.exit(f"lightcurve: {_reason(group)}")
    except BrokenPipeError:
        # `lightcurve … | head` has read enough: no traceback for that, nor for closing the output at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in DISK_SAYS_NO:
            raise
        sys.exit(f"lightcurve: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _reason(group: "ExceptionGroup[Exception]") -> str:
    """What ended a process, in one line, which will be its last words; a traceback before it for what was not
    foreseen."""
    errors: list[Exception] = []
    waiting: list[Exception] = [group]
    while waiting:
        error = waiting.pop()
        if isinstance(error, ExceptionGroup):
            waiting.extend(error.exceptions)
        else:
            errors.append(error)
    if not all(isinstance(error, LightcurveError) for error in errors):
        traceback.print_exception(group)
    words = [error.message if isinstance(error, LightcurveError) else repr(error) for error in errors]
    return "; ".join(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lightcurve", description="A control plane for virtual machines.")
    default = os.environ.get(STATE_DIR, "var")
    parser.add_argument("--state-dir", type=Path, default=Path(default), help=f"default: ${STATE_DIR} or var")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="start the all-in-one stack")
    hosts = up.add_mutually_exclusive_group()
    simulated = "run with N simulated hosts and no libvirt, now and at later starts"
    hosts.add_argument("--simulated-hosts", type=simulated_hosts, metavar="N", help=simulated)
    real = "run with N real hosts (node1, node2, ...), each with a libvirt of its own in namespaces of this machine"
    hosts.add_argument("--hosts", type=int, metavar="N", help=real)
    shared = "with --hosts: new disks lie in a directory that all of these hosts have in common"
    up.add_argument("--shared-instances", action="store_true", help=shared)
    first = "of the first start; then see the configuration"
    up.add_argument("--nats-port", type=int, default=14222, help=first)
    up.add_argument("--api-port", type=int, default=8774, help=f"the others are the next free ones above; {first}")
    up.set_defaults(command=_up)

    down = commands.add_parser("down", help="stop the stack; guests go on running")
    down.add_argument("--erase", action="store_true", help="and remove its guests and everything it has stored")
    down.set_defaults(command=_down)

    status = commands.add_parser("status", help="every process, every projection and its lag, every host")
    status.set_defaults(command=_status)

    log = commands.add_parser("log", help="the events of a server, a request, a type")
    log.add_argument("server", nargs="?", help="name or id, also of a deleted server")
    log.add_argument("--request", metavar="REQ", help="only those of this request id")
    log.add_argument("--type", help="only those whose type begins so: server., ledger.changed/claimed")
    log.add_argument("--limit", type=limit, default=1000)
    log.add_argument("--bodies", action="store_true", help="with the events' bodies")
    log.set_defaults(command=_log)

    past_commands.register(commands)
    identity_commands.register(commands)

    rebuild = commands.add_parser("rebuild", help="build a projection anew from the log, while the old one answers")
    rebuild.add_argument("projection")
    rebuild.set_defaults(command=_rebuild)

    projection = commands.add_parser("projection", help="what can be asked, and the archive")
    looks = projection.add_subparsers(required=True, metavar="COMMAND")
    how_far = looks.add_parser("status", help="of each: position, lag, rate, parked events, last error")
    how_far.set_defaults(command=_projection_status)

    recover = commands.add_parser("recover", help="go on with what is left of a damaged log; see status first")
    recover.add_argument("--give-up", action="store_true", help="without what the archive has, too")
    recover.set_defaults(command=_recover)

    events = commands.add_parser("events", help="events that a projection could not take in")
    kinds = events.add_subparsers(required=True, metavar="COMMAND")
    parked = kinds.add_parser("parked", help="list them, with the reasons")
    parked.add_argument("--limit", type=limit, default=1000)
    parked.set_defaults(command=_events_parked)
    retry = kinds.add_parser("retry", help="have them applied again, in order, with what waits behind them")
    retry.add_argument("position", type=int, nargs="*", help="default: all")
    retry.add_argument("--cell", help="default: the configured one")
    retry.set_defaults(command=_events_retry)
    skip = kinds.add_parser("skip", help="give one up: projections pass over it, now and when they are rebuilt")
    skip.add_argument("position", type=int)
    skip.add_argument("--cell", help="default: the configured one")
    skip.add_argument("--reason", required=True, help="goes into the log")
    skip.set_defaults(command=_events_skip)

    holdings = commands.add_parser("holdings", help="what servers hold: claims, ports, quota, as JSON from the log")
    holdings.set_defaults(command=_holdings)

    placement = commands.add_parser("placement", help="the ledger of resources")
    checks = placement.add_subparsers(required=True, metavar="COMMAND")
    check = checks.add_parser("check", help="prove the ledger's promises on the live system")
    check.set_defaults(command=_placement_check)

    consoles = commands.add_parser("consoles", help="who sees which server's console, from where, since when")
    consoles.add_argument("--all", action="store_true", help="also the sessions that have ended")
    consoles.add_argument("--server", help="only of this one: name or id")
    consoles.add_argument("--limit", type=limit, default=1000)
    consoles.set_defaults(command=_consoles)

    revoke = commands.add_parser("revoke-consoles", help="make a server's console tokens void, and end its sessions")
    revoke.add_argument("server", help="name or id")
    revoke.set_defaults(command=_revoke_consoles)

    evidence_commands.register(commands)
    reader_commands.register(commands)
    host_commands.register(commands)

    run = commands.add_parser("run", help="run one role in the foreground, as a service manager does")
    run.add_argument("role", choices=ROLES)
    run.add_argument("--name", help="of this process; default: the role")
    run.add_argument("--config", type=Path, help="default: lightcurve.toml in the state directory")
    run.set_defaults(command=_run)

    supervise = commands.add_parser("supervise", help="run the stack in the foreground")
    supervise.set_defaults(command=_supervise)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    settings = load(arguments.config or arguments.state_dir / "lightcurve.toml")
    name = arguments.name or arguments.role
    logs.configure(name, settings.cell, settings.log_level)
    allow_many_files()
    garbage.wait()
    _until_stopped(_role(arguments.role)(settings, name))


def _role(name: str) -> Role:
    """Only what a role needs is imported: a compute host has neither Starlette nor PostgreSQL."""
    match name:
        case "api":
            from ops.roles.api import run
        case "conductor":
            from ops.roles.conductor import run
        case "projector":
            from ops.roles.projector import run
        case "placement":
            from ops.roles.placement import run
        case "metadata":
            from ops.roles.metadata import run
        case "console":
            from ops.roles.console import run
        case "compute":
            from ops.roles.compute import run
        case _:
            from ops.roles.compute import run_simulated as run
    return run


def _until_stopped(work: Awaitable[None]) -> None:
    """Run until done or told to stop by SIGTERM or SIGINT."""

    async def supervised() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        alive = asyncio.create_task(notify.keep_saying_alive())
        try:
            await task
        except asyncio.CancelledError:
            return
        finally:
            alive.cancel()

    _run_loop(supervised())


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def _up(arguments: argparse.Namespace) -> None:
    from ops.stack import Stack
    from ops.up_down import up

    up(
        Stack(arguments.state_dir),
        nats_port=arguments.nats_port,
        api_port=arguments.api_port,
        simulated_hosts=arguments.simulated_hosts,
        hosts=arguments.hosts,
        shared=arguments.shared_instances,
    )


def _supervise(arguments: argparse.Namespace) -> None:
    from ops.stack import Stack
    from ops.up_down import supervise

    supervise(Stack(arguments.state_dir))


def _down(arguments: argparse.Namespace) -> None:
    from ops.stack import Stack
    from ops.up_down import down

    down(Stack(arguments.state_dir), erase=arguments.erase)


def _status(arguments: argparse.Namespace) -> None:
    from ops.stack import Stack
    from ops.status import show

    asyncio.run(show(Stack(arguments.state_dir)))


def _log(arguments: argparse.Namespace) -> None:
    from ops.show_log import show

    if not (arguments.server or arguments.request or arguments.type):
        raise Invalid("name a server, or give --request or --type")
    settings = load(arguments.state_dir / "lightcurve.toml")
    asyncio.run(
        show(
            settings,
            server=arguments.server,
            request_id=arguments.request,
            kind=arguments.type,
            limit=arguments.limit,
            bodies=arguments.bodies,
        )
    )


def _holdings(arguments: argparse.Namespace) -> None:
    from ops.holdings import show

    asyncio.run(show(load(arguments.state_dir / "lightcurve.toml")))


def _placement_check(arguments: argparse.Namespace) -> None:
    from ops.placement_check import check

    garbage.wait()
    _run_loop(check(load(arguments.state_dir / "lightcurve.toml")))


def _consoles(arguments: argparse.Namespace) -> None:
    from ops.show_consoles import show

    settings = load(arguments.state_dir / "lightcurve.toml")
    asyncio.run(show(settings, ended=arguments.all, server=arguments.server, limit=arguments.limit))


def _revoke_consoles(arguments: argparse.Namespace) -> None:
    from ops.revoke_consoles import revoke

    settings = load(arguments.state_dir / "lightcurve.toml")
    print(f"{asyncio.run(revoke(settings, arguments.server))} console tokens are revoked.")


def _projection_status(arguments: argparse.Namespace) -> None:
    from ops.projection_status import show

    asyncio.run(show(load(arguments.state_dir / "lightcurve.toml")))


def _recover(arguments: argparse.Namespace) -> None:
    from ops.recover import recover

    asyncio.run(recover(load(arguments.state_dir / "lightcurve.toml"), give_up=arguments.give_up))


def _events_parked(arguments: argparse.Namespace) -> None:
    from ops.parked_events import show

    asyncio.run(show(load(arguments.state_dir / "lightcurve.toml"), arguments.limit))


def _events_retry(arguments: argparse.Namespace) -> None:
    from ops.parked_events import retry

    settings = load(arguments.state_dir / "lightcurve.toml")
    asyncio.run(retry(settings, arguments.cell or settings.cell, arguments.position))


def _events_skip(arguments: argparse.Namespace) -> None:
    from ops.parked_events import give_up

    settings = load(arguments.state_dir / "lightcurve.toml")
    asyncio.run(give_up(settings, arguments.cell or settings.cell, arguments.position, arguments.reason))


def _rebuild(arguments: argparse.Namespace) -> None:
    from ops.rebuild import rebuild

    asyncio.run(rebuild(load(arguments.state_dir / "lightcurve.toml"), arguments.projection))


if __name__ == "__main__":
    main()
