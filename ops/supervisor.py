"""A small supervisor for the all-in-one stack: starts programs in order, starts again what ends, stops all."""

import asyncio
import ctypes
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

READY_SECONDS = 60.0
BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
STEADY_SECONDS = 30.0
"""Who has run for so long starts over with the shortest pause."""
MAX_FAILED_STARTS = 5
"""A program that has ended so often before it was ever ready is given up."""
STOP_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1
NOTIFY_SOCKET = "NOTIFY_SOCKET"

Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Program:
    """What is run. Programs later in the list wait until it is ready: ``ready`` is asked again and again; a program
    without it says so itself, by systemd's notification protocol (sd_notify)."""

    name: str
    argv: tuple[str, ...]
    ready: Ready | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    environment: Mapping[str, str] = field(default_factory=dict)


class Failed(Exception):
    """A program did not become ready."""


class Supervisor:
    """Runs the programs until stopped. What it knows it writes to ``state_file``, for ``lightcurve status``."""

    def __init__(self, programs: list[Program], log_dir: Path, state_file: Path) -> None:
        self._programs = programs
        self._log_dir = log_dir
        self._state_file = state_file
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._state: dict[str, dict[str, object]] = {}
        self._stopping = asyncio.Event()
        self._notified: set[str] = set()
        self._listeners: dict[str, socket.socket] = {}
        self._phase = "starting"

    def stop(self) -> None:
        """Begin to stop everything, the last started first."""
        self._stopping.set()

    async def run(self) -> None:
        """Start all, keep them running, and stop them once told to. Raises Failed if one never becomes ready."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self._write()
        keepers: list[asyncio.Task[None]] = []
        try:
            for program in self._programs:
                if self._stopping.is_set():
                    return
                keepers.append(asyncio.create_task(self._keep(program)))
                await self._until_ready(program)
            self._write("up")
            await self._stopping.wait()
        finally:
            self._stopping.set()
            self._write("stopping")
            for program in reversed(self._programs):
                await self._end(program)
            await asyncio.gather(*keepers, return_exceptions=True)
            for listener in self._listeners.values():
                asyncio.get_running_loop().remove_reader(listener)
                listener.close()
            self._write("down")

    async def _keep(self, program: Program) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            process = await self._start(program)
            code = await process.wait()
            if self._stopping.is_set():
                return
            steady = time.monotonic() - started > STEADY_SECONDS
            failures = 0 if steady else failures + 1
            pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
            log.warning("%s ended with %d; starting it again in %.1f s", program.name, code, pause)
            self._state[program.name]["restarts"] = int(str(self._state[program.name]["restarts"])) + 1
            try:
                await asyncio.wait_for(self._stopping.wait(), pause)
            except TimeoutError:
                continue

    async def _start(self, program: Program) -> asyncio.subprocess.Process:
        file = self._log_dir / f"{program.name}.log"
        with file.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *program.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **program.environment, NOTIFY_SOCKET: await self._notify_socket(program)},
                preexec_fn=_die_with_parent,
                # A terminal's interrupt is for the supervisor, which stops the others in order.
                start_new_session=True,
            )
        self._processes[program.name] = process
        state = self._state.setdefault(program.name, {"restarts": 0})
        state.update(pid=process.pid, started=time.time())
        self._write()
        return process

    async def _until_ready(self, program: Program) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not await self._is_ready(program):
            if int(str(self._state.get(program.name, {}).get("restarts", 0))) >= MAX_FAILED_STARTS:
                raise Failed(f"{program.name} ends again and again; {self._last_words(program)}")
            if time.monotonic() > deadline:
                raise Failed(f"{program.name} did not become ready; {self._last_words(program)}")
            if self._stopping.is_set():
                return
            await asyncio.sleep(0.05)
        log.info("%s is ready", program.name)
        self._state[program.name]["ready"] = True
        self._write()

    def _last_words(self, program: Program) -> str:
        file = self._log_dir / f"{program.name}.log"
        lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
        return f"its log, {file}, ends with: {lines[-1][-400:] if lines else '(nothing)'}"

    async def _is_ready(self, program: Program) -> bool:
        return await program.ready() if program.ready else program.name in self._notified

    async def _notify_socket(self, program: Program) -> str:
        """An abstract socket on which the program says that it is ready; a new one each time it is started."""
        self._notified.discard(program.name)
        address = f"@lightcurve-{os.getpid()}-{program.name}"
        if program.name not in self._listeners:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            listener.bind("\0" + address[1:])
            self._listeners[program.name] = listener
            asyncio.get_running_loop().add_reader(listener, self._on_notice, program.name, listener)
        return address

    def _on_notice(self, name: str, listener: socket.socket) -> None:
        if b"READY=1" in listener.recv(4096).split(b"\n"):
            self._notified.add(name)

    async def _end(self, program: Program) -> None:
        process = self._processes.get(program.name)
        if process is None or process.returncode is not None:
            return
        process.send_signal(program.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            log.warning("%s does not stop; killing it", program.name)
            process.kill()
            await process.wait()

    def _write(self, phase: str | None = None) -> None:
        self._phase = phase or self._phase
        state = {"pid": os.getpid(), "phase": self._phase, "programs": self._state}
        fresh = self._state_file.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.replace(self._state_file)


def _die_with_parent() -> None:
    """Should the supervisor be killed, its programs get their signal from the kernel."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
