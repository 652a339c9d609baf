"""A stack of its own for a benchmark, with simulated hosts, and what its processes cost."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from ops.bench.http import Client, log_in
from ops.settings import Settings
from ops.stack import Stack, running

NO_LIMITS = {"LIGHTCURVE_QUOTA_INSTANCES": "-1", "LIGHTCURVE_QUOTA_CORES": "-1", "LIGHTCURVE_QUOTA_RAM_MB": "-1"}
ROOT = Path(__file__).parents[2]


@contextmanager
def stack(hosts: int, tree: Path = ROOT) -> Iterator[Stack]:
    """A fresh stack of the code in a tree, on ports of its own, erased at the end."""
    directory = Path(tempfile.mkdtemp(prefix="lightcurve-bench-"))
    ports = ["--nats-port", str(_free_port()), "--api-port", str(_free_port())]
    measured = Stack(directory)
    try:
        lightcurve(measured, "up", "--simulated-hosts", str(hosts), *ports, tree=tree)
        yield measured
    finally:
        lightcurve(measured, "down", "--erase", check=False, tree=tree)
        shutil.rmtree(directory, ignore_errors=True)


def lightcurve(measured: Stack, *arguments: str, check: bool = True, tree: Path = ROOT) -> None:
    """Run the command for that stack, as an operator would."""
    command = [sys.executable, "-m", "ops.cli", "--state-dir", str(measured.directory), *arguments]
    environment = os.environ | NO_LIMITS | {"PYTHONPATH": str(tree)}
    # Or each process would compile all of its modules at each start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(command, check=check, cwd=tree, env=environment, stdout=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(measured: Stack) -> dict[str, float]:
    """User and system time used so far, by program of the stack, children included."""
    state = running(measured)
    assert state
    programs = state["programs"]
    assert isinstance(programs, dict)
    used = {}
    for name, facts in programs.items():
        process = psutil.Process(int(facts["pid"]))
        total = 0.0
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        used[name] = total
    return used


async def connected(measured: Stack, settings: Settings) -> dict[str, Client]:
    """A connection each of a ``member``, of an ``admin``, and of the admin to ``placement``."""
    clients = {
        who: Client("127.0.0.1", settings.placement.port if who == "placement" else settings.api.port)
        for who in ("member", "admin", "placement")
    }
    await log_in(clients["member"], measured.password("demo"), "demo")
    await log_in(clients["admin"], measured.password("admin"))
    clients["placement"].headers = clients["admin"].headers | {"OpenStack-API-Version": "placement 1.39"}
    return clients
