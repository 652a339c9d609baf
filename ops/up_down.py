"""``lightcurve up``, ``supervise`` and ``down``: the all-in-one stack from its first start to its end."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from domain.errors import Invalid, Unavailable
from ops import damage, logs
from ops.roles.api import names as api_names
from ops.roles.placement import names as placement_names
from ops.settings import Settings
from ops.stack import Stack, is_supervisor, running
from ops.supervisor import Failed, Supervisor

log = logging.getLogger(__name__)

STOP_SECONDS = 300.0
"""How long all programs together may take to stop."""
ORPHAN_SECONDS = 20.0
"""How long the programs may take to end whose supervisor was killed."""
DAMAGE_SECONDS = 5.0
"""Between two looks whether the logs are damaged, while the stack does not come up."""
_POLL = 0.1


def up(
    stack: Stack,
    *,
    nats_port: int,
    api_port: int,
    simulated_hosts: int | None,
    hosts: int | None,
    shared: bool = False,
) -> None:
    """Start the stack in the background and wait until it is up; harmless if it is. Raises Unavailable, Invalid."""
    if shared and hosts is None:
        raise Invalid("--shared-instances takes --hosts N: it is about several hosts.")
    _await_end(stack)
    if running(stack):
        if hosts not in (None, len(stack.embedded_hosts.names)):
            raise Invalid("The stack is up already; it can have more hosts after: lightcurve down")
        if shared and not stack.embedded_hosts.shared.exists():
            raise Invalid("The stack is up already; its hosts can have a directory in common after: lightcurve down")
        print("The stack is up already.")
        if _await_up(stack):
            _seed(stack, stack.settings())
        return
    stack.set_up(nats_port=nats_port, api_port=api_port, simulated_hosts=simulated_hosts or 0)
    if simulated_hosts is None:
        _stay_simulated(stack, stack.settings(), hosts)
    if hosts is not None:
        stack.set_hosts(hosts, shared=shared)
    if simulated_hosts is not None:
        if stack.embedded_hosts.names:
            raise Invalid("This stack has real hosts of its own: erase it first.")
        os.environ["LIGHTCURVE_SIMULATED_HOSTS"] = str(simulated_hosts)
    settings = stack.settings()
    _check_machine(stack, settings)
    stack.log_dir.mkdir(exist_ok=True)
    stack.state_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "ops.cli", "--state-dir", str(stack.directory), "supervise"]
    with (stack.log_dir / "supervisor.log").open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    if _await_up(stack, process):
        _seed(stack, settings)


def _check_machine(stack: Stack, settings: Settings) -> None:
    """Raise Unavailable for what keeps the stack from starting."""
    problems = _problems(stack, settings)
    if problems:
        raise Unavailable("it cannot start:\n  " + "\n  ".join(problems))
    if stack.embedded_hosts.names:
        # Hosts boot a kernel to know how guests run, and these ones reach nothing to fetch one from.
        _guest_image(settings)


def _stay_simulated(stack: Stack, settings: Settings, hosts: int | None) -> None:
    """Raise Unavailable, or Invalid, if its hosts were simulated, and real ones would begin beside their servers."""
    before = len(stack.nats(settings).simulated_before())
    if hosts is not None and (before or settings.simulated.hosts):
        raise Invalid("This stack has simulated hosts: erase it first.")
    if before and not settings.simulated.hosts:
        raise Unavailable(
            f"its hosts were simulated when it was started last. Say --simulated-hosts {before} again, or write"
            f" hosts = {before} under [simulated] into {stack.config_file}; with --simulated-hosts 0 this machine"
            " becomes its host."
        )


def _problems(stack: Stack, settings: Settings) -> list[str]:
    """What keeps it from starting; but the programs of a supervisor that was killed are given time to end."""
    deadline = time.monotonic() + (ORPHAN_SECONDS if stack.ended_by_force() else 0)
    while True:
        found = stack.problems(settings, with_libvirt=not settings.simulated.hosts)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_POLL)


def supervise(stack: Stack) -> None:
    """Run the stack in the foreground until told to stop. Raises Unavailable if it does not come up."""
    if not stack.lock.take():
        raise Unavailable(f"another supervisor runs the stack under {stack.directory}")
    settings = stack.settings()
    logs.configure("supervisor", settings.cell, settings.log_level)
    stack.prepare(settings)
    with_libvirt = not settings.simulated.hosts
    for notice in stack.libvirt(settings).notices() if with_libvirt else ():
        log.warning("%s", notice)
    programs = stack.programs(settings, with_libvirt=with_libvirt)
    supervisor = Supervisor(programs, stack.log_dir, stack.state_file, disk=stack.directory)

    async def work() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
        try:
            await supervisor.run()
        except Failed as failure:
            raise Unavailable(str(failure)) from None

    asyncio.run(work())


def down(stack: Stack, *, erase: bool) -> None:
    """Stop the stack, and with ``erase`` remove its guests and everything it has stored.

    Raises Unavailable if it does not stop, or if guests or their networks cannot be removed: then all that is known
    of them is kept.
    """
    print("The stack is down." if _stop(stack) else "The stack is not running.")
    if not erase or not stack.directory.exists():
        return
    if not stack.lock.take():
        raise Unavailable("somebody has started the stack again; nothing is erased")
    if stack.is_set_up:
        stack.remove_guests()
    stack.erase()
    print(f"{stack.directory} is erased.")


def _stop(stack: Stack) -> bool:
    """Stop it; False if it does not run. Signals nobody but the supervisor that holds the lock."""
    state = running(stack)
    if state is None:
        return False
    pid = int(str(state["pid"]))
    try:
        process = os.pidfd_open(pid)
    except OSError:
        process = None
    # From here on the descriptor means that process, whoever gets its id later; so it is looked at now.
    if process is None or not is_supervisor(pid):
        if running(stack) is None:
            return True
        elsewhere = f"by process {pid} of another machine or container: stop it there"
        raise Unavailable(f"the stack under {stack.directory} is run {elsewhere}")
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
    except ProcessLookupError:
        return True
    finally:
        os.close(process)
    deadline = time.monotonic() + STOP_SECONDS
    while (now := running(stack)) and now["pid"] == pid:
        if time.monotonic() > deadline:
            raise Unavailable(f"the supervisor (pid {pid}) does not stop; see {stack.log_dir}/supervisor.log")
        time.sleep(_POLL)
    return True


def _await_end(stack: Stack) -> None:
    """If it is just stopping, wait for its end."""
    while (state := running(stack)) and state["phase"] in {"stopping", "down"}:
        time.sleep(_POLL)


def _await_up(stack: Stack, process: "subprocess.Popen[bytes] | None" = None) -> bool:
    """Show what is ready, and what is waited for. Raises Unavailable once nobody starts it any more.

    False for a stack on a damaged log, which was told of: it runs, and takes nothing in, its hosts neither.
    """
    shown: set[str] = set()
    look = time.monotonic() + DAMAGE_SECONDS
    while True:
        state = running(stack)
        known = state or {}
        programs = known.get("programs", {})
        assert isinstance(programs, dict)
        for name, facts in programs.items():
            if facts.get("state") == "ready" and name not in shown:
                print(f"  {name} is ready", flush=True)
                shown.add(name)
        waiting = str(known.get("waiting") or "")
        if waiting and waiting not in shown:
            print(f"  {waiting}", flush=True)
            shown.add(waiting)
        if known.get("phase") == "up":
            return not asyncio.run(damage.tell(stack.settings()))
        if time.monotonic() > look and _serves(stack.settings(), programs):
            if asyncio.run(damage.tell(stack.settings())):
                return False
            look = time.monotonic() + DAMAGE_SECONDS
        if process is not None and process.poll() is not None:
            words = (stack.log_dir / "supervisor.log").read_text(errors="replace").splitlines()[-1:]
            raise Unavailable("the stack did not start: " + "".join(words).removeprefix("lightcurve: "))
        if process is None and state is None:
            raise Unavailable("the stack has been stopped while it was being started")
        time.sleep(_POLL)


def _serves(settings: Settings, programs: dict[str, dict[str, object]]) -> bool:
    """Whether all answer that are not hosts, which nobody enrols while a log is damaged."""
    faces = (*api_names(settings), *placement_names(settings))
    return all(programs.get(name, {}).get("state") == "ready" for name in faces)


def _guest_image(settings: Settings) -> Path:
    from ops.guest_image.build import build_tiny

    print("  the guest image is built, if it is not there yet", flush=True)
    return build_tiny(settings.cache / "guest-image")


def _seed(stack: Stack, settings: Settings) -> None:
    """A new cloud starts with flavors, a network and an image."""
    from ops import seed
    from ops.identity import project_id

    asyncio.run(seed.seed(settings, project_id("admin")))
    image, disk_format = settings.cache / "simulated-image", "raw"
    if settings.simulated.hosts:
        # Simulated hosts never look into an image.
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(b"nothing")
    else:
        image, disk_format = _guest_image(settings), "qcow2"
    seed.upload_image(settings.api.public_url, stack.password("admin"), image, disk_format)
