"""The ``lightcurve`` command."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from domain.errors import Invalid, LightcurveError, Unavailable
from ops import logs
from ops.settings import Settings, load

STATE_DIR = "LIGHTCURVE_STATE_DIR"
STOP_SECONDS = 60.0
ROLES = ("api", "conductor", "projector", "placement", "metadata", "console", "compute", "simulated")

Role = Callable[[Settings, str], Awaitable[None]]


def main() -> None:
    """Entry point: errors that we foresee are one line, not a traceback."""
    arguments = _parser().parse_args()
    try:
        arguments.command(arguments)
    except LightcurveError as error:
        sys.exit(f"lightcurve: {error.message}")
    except BrokenPipeError:
        # Who pipes us into `head` wants no traceback of it; nor one from closing the output at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lightcurve", description="A control plane for virtual machines.")
    default = os.environ.get(STATE_DIR, "var")
    parser.add_argument("--state-dir", type=Path, default=Path(default), help=f"default: ${STATE_DIR} or var")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="start the all-in-one stack")
    up.add_argument("--simulated-hosts", type=int, metavar="N", help="run with N simulated hosts and no libvirt")
    up.add_argument("--nats-port", type=int, default=14222, help="of the first start; then see the configuration")
    up.add_argument("--api-port", type=int, default=8774, help="of the first start; then see the configuration")
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
    log.add_argument("--limit", type=int, default=1000)
    log.add_argument("--bodies", action="store_true", help="with the events' bodies")
    log.set_defaults(command=_log)

    rebuild = commands.add_parser("rebuild", help="build a projection anew from the log, while the old one answers")
    rebuild.add_argument("projection")
    rebuild.set_defaults(command=_rebuild)

    holdings = commands.add_parser("holdings", help="what servers hold: claims, ports, quota, as JSON from the log")
    holdings.set_defaults(command=_holdings)

    placement = commands.add_parser("placement", help="the ledger of resources")
    checks = placement.add_subparsers(required=True, metavar="COMMAND")
    check = checks.add_parser("check", help="prove the ledger's promises on the live system")
    check.set_defaults(command=_placement_check)

    consoles = commands.add_parser("consoles", help="who sees which server's console, from where, since when")
    consoles.add_argument("--all", action="store_true", help="also the sessions that have ended")
    consoles.add_argument("--limit", type=int, default=1000)
    consoles.set_defaults(command=_consoles)

    revoke = commands.add_parser("revoke-consoles", help="make a server's console tokens void, and end its sessions")
    revoke.add_argument("server", help="name or id")
    revoke.set_defaults(command=_revoke_consoles)

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
        try:
            await task
        except asyncio.CancelledError:
            return

    _run_loop(supervised())


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def _up(arguments: argparse.Namespace) -> None:
    from ops.stack import Stack, running

    stack = Stack(arguments.state_dir)
    if running(stack):
        print("The stack is up already.")
        _await_up(stack)
        _seed(stack, stack.settings())
        return
    stack.set_up(nats_port=arguments.nats_port, api_port=arguments.api_port)
    if arguments.simulated_hosts is not None:
        os.environ["LIGHTCURVE_SIMULATED_HOSTS"] = str(arguments.simulated_hosts)
    settings = stack.settings()
    problems = stack.problems(settings, with_libvirt=not settings.simulated.hosts)
    if problems:
        raise Unavailable("it cannot start:\n  " + "\n  ".join(problems))
    stack.log_dir.mkdir(exist_ok=True)
    stack.state_file.unlink(missing_ok=True)
    output = (stack.log_dir / "supervisor.log").open("ab")
    command = [sys.executable, "-m", "ops.cli", "--state-dir", str(stack.directory), "supervise"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
    _await_up(stack, process)
    _seed(stack, settings)


def _seed(stack: Any, settings: Settings) -> None:
    """A new cloud starts with flavors, a network and an image."""
    from ops import seed
    from ops.guest_image.build import build_tiny
    from ops.identity import project_id

    asyncio.run(seed.seed(settings, project_id("admin")))
    image, disk_format = settings.cache / "simulated-image", "raw"
    if settings.simulated.hosts:
        # Simulated hosts never look into an image.
        image.write_bytes(b"nothing")
    else:
        print("  the guest image is built, if it is not there yet", flush=True)
        image, disk_format = build_tiny(settings.cache / "guest-image"), "qcow2"
    seed.upload_image(settings.api.public_url, stack.password("admin"), image, disk_format)


def _await_up(stack: Any, process: "subprocess.Popen[bytes] | None" = None) -> None:
    from ops.stack import running

    shown: set[str] = set()
    while True:
        state = running(stack) or {}
        programs = state.get("programs", {})
        assert isinstance(programs, dict)
        for name, facts in programs.items():
            if facts.get("ready") and name not in shown:
                print(f"  {name} is ready", flush=True)
                shown.add(name)
        if state.get("phase") == "up":
            return
        if process is not None and process.poll() is not None:
            words = (stack.log_dir / "supervisor.log").read_text().splitlines()[-1:]
            raise Unavailable("the stack did not start: " + "".join(words).removeprefix("lightcurve: "))
        time.sleep(0.1)


def _supervise(arguments: argparse.Namespace) -> None:
    from ops.stack import Stack
    from ops.supervisor import Failed, Supervisor

    stack = Stack(arguments.state_dir)
    settings = stack.settings()
    logs.configure("supervisor", settings.cell, settings.log_level)
    stack.prepare(settings)
    programs = stack.programs(settings, with_libvirt=not settings.simulated.hosts)
    supervisor = Supervisor(programs, stack.log_dir, stack.state_file)

    async def supervise() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
        try:
            await supervisor.run()
        except Failed as failure:
            raise Unavailable(str(failure)) from None

    asyncio.run(supervise())


def _down(arguments: argparse.Namespace) -> None:
    from ops.stack import Stack, running

    stack = Stack(arguments.state_dir)
    state = running(stack)
    if arguments.erase and stack.is_set_up:
        stack.remove_guests()
    if state:
        pid = int(str(state["pid"]))
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running(stack):
            if time.monotonic() > deadline:
                raise Unavailable(f"the supervisor (pid {pid}) does not stop; see {stack.log_dir}/supervisor.log")
            time.sleep(0.1)
        print("The stack is down.")
    else:
        print("The stack is not running.")
    if arguments.erase:
        stack.erase()
        print(f"{stack.directory} is erased.")


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

    asyncio.run(check(load(arguments.state_dir / "lightcurve.toml")))


def _consoles(arguments: argparse.Namespace) -> None:
    from ops.show_consoles import show

    settings = load(arguments.state_dir / "lightcurve.toml")
    asyncio.run(show(settings, ended=arguments.all, limit=arguments.limit))


def _revoke_consoles(arguments: argparse.Namespace) -> None:
    from ops.revoke_consoles import revoke

    settings = load(arguments.state_dir / "lightcurve.toml")
    print(f"{asyncio.run(revoke(settings, arguments.server))} console tokens are revoked.")


def _rebuild(arguments: argparse.Namespace) -> None:
    from ops.rebuild import rebuild

    asyncio.run(rebuild(load(arguments.state_dir / "lightcurve.toml"), arguments.projection))


if __name__ == "__main__":
    main()
