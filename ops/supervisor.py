"""A small supervisor for the all-in-one stack: starts programs in order, keeps each, stops all."""

import asyncio
import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from adapters.disk_space import Level, Space, space
from ops import log_files
from ops.keeper import Keeper, Pace, Program, Ready

__all__ = ["Failed", "Pace", "Program", "Ready", "Supervisor"]

MAX_FAILED_STARTS = 5
"""A program that has ended so often before it was ever ready is given up."""
WORD_SECONDS = 30.0
"""How often it is said what the start waits for."""
HOUSEKEEPING_SECONDS = 5.0
"""How often the logs and the disk are looked at."""
MIB = 1024**2

log = logging.getLogger(__name__)


class Failed(Exception):
    """A program did not become ready."""


class Supervisor:
    """Runs the programs until stopped. What it knows it writes to ``state_file``, for ``lightcurve status``.

    A start may take as long as it takes: it ends when a program ends again and again, or when somebody stops it.
    """

    def __init__(
        self, programs: list[Program], log_dir: Path, state_file: Path, *, disk: Path | None = None,
        pace: Pace | None = None,
    ) -> None:  # fmt: skip
        """``disk`` is where everything is kept, if its room shall be watched."""
        self._programs = programs
        self._log_dir = log_dir
        self._state_file = state_file
        self._disk = disk
        self._pace = pace or Pace()
        self._keepers: dict[str, Keeper] = {}
        self._stopping = asyncio.Event()
        self._up = asyncio.Event()
        self._phase = "starting"
        self._waiting = ""
        self._space: Space | None = None
        self._level = Level.FINE
        self._writes = True

    def stop(self) -> None:
        """Begin to stop everything, the last started first."""
        self._stopping.set()

    async def run(self) -> None:
        """Start all, keep them running, and stop them once told to. Raises Failed if one never becomes ready."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self._write()
        running: list[tuple[Keeper, asyncio.Task[None]]] = []
        starting: list[Keeper] = []
        housekeeping = asyncio.create_task(self._keep_house())
        try:
            for program in self._programs:
                if not program.beside:
                    await self._until_ready(starting)
                if self._stopping.is_set():
                    return
                keeper = Keeper(program, self._log_dir / f"{program.name}.log", self._write, self._pace)
                self._keepers[program.name] = keeper
                running.append((keeper, asyncio.create_task(keeper.run())))
                starting.append(keeper)
            await self._until_ready(starting)
            if self._stopping.is_set():
                return
            self._write("up")
            self._up.set()
            await self._stopping.wait()
        finally:
            self._stopping.set()
            self._write("stopping")
            housekeeping.cancel()
            for keeper, task in reversed(running):
                keeper.stop()
                await asyncio.gather(task, return_exceptions=True)
            await asyncio.gather(housekeeping, return_exceptions=True)
            self._write("down")

    async def up(self) -> None:
        """Until all are ready. ``run`` has to be under way."""
        await self._up.wait()

    async def _until_ready(self, starting: list[Keeper]) -> None:
        while starting and not self._stopping.is_set():
            await self._until_one_is(starting.pop(0))

    async def _until_one_is(self, keeper: Keeper) -> None:
        began, said = time.monotonic(), 0.0
        while not keeper.is_ready:
            if keeper.restarts >= MAX_FAILED_STARTS:
                raise Failed(f"{keeper.program.name} ends again and again; {keeper.last_words()}")
            waited = time.monotonic() - began
            if waited - said > WORD_SECONDS:
                said = waited
                self._waiting = f"{keeper.program.name} is not ready yet, after {waited:.0f} s; {keeper.last_words()}"
                log.warning("%s", self._waiting)
                self._write()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._pace.starting)
                return
        self._waiting = ""

    async def _keep_house(self) -> None:
        """Keep the logs bounded, and tell of a disk that fills, before it is full."""
        while True:
            try:
                await asyncio.to_thread(log_files.rotate, self._log_dir)
                if self._disk is not None:
                    self._look_at(self._disk, space(self._disk))
            except Exception as error:  # noqa: BLE001 - it is tried again, and must not end for any reason
                log.warning("the logs and the disk could not be looked after: %r", error)
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    def _look_at(self, disk: Path, found: Space) -> None:
        self._space = found
        if found.level is not self._level:
            self._level = found.level
            log.log(logging.INFO if found.level is Level.FINE else logging.ERROR, "%s", words_on(disk, found))
        self._write()

    def _write(self, phase: str | None = None) -> None:
        """Tell how things are; that it cannot be told, on a full disk say, must not keep anything from being done."""
        self._phase = phase or self._phase
        state: dict[str, object] = {"pid": os.getpid(), "phase": self._phase, "waiting": self._waiting}
        state["programs"] = {name: keeper.facts for name, keeper in self._keepers.items() if "pid" in keeper.facts}
        if self._disk is not None and self._space is not None:
            state["disk"] = words_on(self._disk, self._space)
        try:
            _write_down(self._state_file, json.dumps(state))
        except OSError as error:
            if self._writes:
                log.error("what runs here cannot be written to %s: %s", self._state_file, error)
            self._writes = False
        else:
            self._writes = True


def _write_down(file: Path, text: str) -> None:
    """Replace what the file says, whole and at once; on a full disk, over what it says now, as that needs no room.

    Raises OSError.
    """
    fresh = file.with_suffix(".new")
    try:
        fresh.write_text(text)
        fresh.replace(file)
    except OSError:
        with file.open("r+b") as target:
            # Blanks are nothing to a reader of JSON.
            target.write(text.encode().ljust(log_files.size(file)))


def words_on(disk: Path, found: Space) -> str:
    """How a disk is, and what to do about it."""
    sizes = f"{found.free // MIB} of {found.total // MIB} MiB are free on the disk of {disk}"
    reserve = f"{found.reserve // MIB} MiB"
    match found.level:
        case Level.FULL:
            return f"THE DISK IS FULL: {sizes}; no image is taken and no guest is built until {reserve} are free"
        case Level.LOW:
            return f"the disk is nearly full: {sizes}; below {reserve} no image is taken and no guest is built"
        case _:
            return sizes
