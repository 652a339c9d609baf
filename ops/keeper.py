"""Keeps one program running: starts again what ends, and ends what has fallen silent."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from adapters.disk_space import space
from ops import log_files, priority
from ops.notices import Notices
from ops.orphans import end_with_parent

BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
STEADY_SECONDS = 30.0
"""Who has run for so long starts over with the shortest pause."""
STOP_SECONDS = 15.0
LOST_SECONDS = 5.0
"""How long one that has fallen silent may take to end in good order."""
ROOM_TO_START = 0.25
"""Of a disk's reserve: with less free a program that writes to it would only fail again."""

log = logging.getLogger(__name__)

Ready = Callable[[], Awaitable[bool]]
State = Literal["starting", "ready", "silent", "ended"]


@dataclass(frozen=True)
class Program:
    """What is run, and how one knows that it is well: ``ready`` is asked again and again; a program without it says
    so itself, by systemd's notification protocol (sd_notify)."""

    name: str
    argv: tuple[str, ...]
    ready: Ready | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    environment: Mapping[str, str] = field(default_factory=dict)
    disk: Path | None = None
    """It cannot work while this disk is full: its silence then is left alone until there is room again."""
    nice: int = priority.USUAL
    beside: bool = False
    """It needs nothing of those that are started right before it, so it does not wait until they are ready."""
    notices: Path | None = None
    """Where it is heard, if it lives in a network namespace of its own."""


@dataclass(frozen=True)
class Pace:
    """How often programs are looked at, and how long silence is borne; all in seconds.

    While a program starts, silence counts only for one that speaks by itself: recovering a large store takes as long
    as it takes. Silence is counted by looks, so that a pause of the whole machine is nobody's.
    """

    starting: float = 0.05
    look: float = 5.0
    answer: float = 6.0
    """How long a program may take to answer one look."""
    silence: float = 30.0
    first_word: float = 120.0
    """Before it has said anything: an interpreter and its imports come first."""


class Keeper:
    """One program's keeper. What is known of the program is in ``facts``, for ``lightcurve status``."""

    def __init__(
        self, program: Program, log_file: Path, changed: Callable[[], None], pace: Pace | None = None
    ) -> None:
        """``changed`` is called whenever ``facts`` are others than before; it must not raise."""
        self.program = program
        self.facts: dict[str, object] = {}
        self.restarts = 0
        self._log_file = log_file
        self._log_begins = log_files.size(log_file)
        self._changed = changed
        self._pace = pace or Pace()
        self._state: State = "starting"
        self._stopping = asyncio.Event()
        self._spoke = False
        self._says_ready = False

    @property
    def is_ready(self) -> bool:
        """Whether it was well when it was last looked at."""
        return self._state == "ready"

    def stop(self) -> None:
        """Have ``run`` end the program and return."""
        self._stopping.set()

    def last_words(self) -> str:
        """Why it ended, as far as its log tells."""
        return log_files.last_words(self._log_file, self._log_begins)

    async def run(self) -> None:
        """Keep it until told to stop. Whatever goes wrong is logged and tried again."""
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                outcome = f"ended with {await self._run_once()}"
            except Exception as error:  # noqa: BLE001 - nobody keeps a program whose keeper has gone
                outcome = f"could not be run: {error!r}"
            if self._stopping.is_set():
                return
            failures = 0 if time.monotonic() - started > STEADY_SECONDS else failures + 1
            pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
            log.warning("%s %s; starting it again in %.1f s", self.program.name, outcome, pause)
            self.restarts += 1
            self._tell("ended")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_once(self) -> int:
        self._spoke = self._says_ready = False
        notices = Notices(self._hear, self.program.notices)
        try:
            process = await self._start(notices.address)
            try:
                return await self._attend(process)
            finally:
                await self._end(process)
        finally:
            notices.close()

    def _hear(self, ready: bool) -> None:
        self._spoke = True
        self._says_ready = self._says_ready or ready

    async def _start(self, notify_socket: str) -> asyncio.subprocess.Process:
        told = {"NOTIFY_SOCKET": notify_socket, "WATCHDOG_USEC": str(int(self._pace.silence * 1e6))}
        with self._log_file.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *self.program.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.program.environment, **told},
                preexec_fn=self._before_it_begins,
                # A terminal's interrupt is for the supervisor, which stops the others in order.
                start_new_session=True,
            )
        self.facts.update(pid=process.pid, started=time.time())
        self._tell("starting")
        return process

    def _before_it_begins(self) -> None:
        """In the new process. Should the supervisor be killed, it gets its signal from the kernel."""
        end_with_parent()
        priority.take(self.program.nice)

    async def _attend(self, process: asyncio.subprocess.Process) -> int:
        """Until it ends, or has to be ended; returns its exit status."""
        ended = asyncio.create_task(process.wait())
        told_to_stop = asyncio.create_task(self._stopping.wait())
        spoken, silent, last = False, 0.0, time.monotonic()
        try:
            while not ended.done() and not told_to_stop.done():
                pause = self._pace.starting if self._state == "starting" else self._pace.look
                await asyncio.wait({ended, told_to_stop}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                well, speaks = await self._look()
                now = time.monotonic()
                silent = 0.0 if speaks else silent + min(now - last, pause + self._pace.answer)
                last, spoken = now, spoken or speaks
                if well:
                    self._tell("ready")
                elif self._state == "ready" and silent > self._pace.silence / 2:
                    self._tell("silent")
                if self._is_lost(silent, spoken=spoken):
                    log.error("%s has said nothing for %.0f s: it is ended", self.program.name, silent)
                    await self._end(process, LOST_SECONDS)
            return ended.result() if ended.done() else 0
        finally:
            for task in (ended, told_to_stop):
                task.cancel()
            await asyncio.gather(ended, told_to_stop, return_exceptions=True)

    async def _look(self) -> tuple[bool, bool]:
        """Whether it is ready, and whether it has given a sign of life since the last look."""
        if self.program.ready is None:
            spoke, self._spoke = self._spoke, False
            return self._says_ready and spoke, spoke
        try:
            async with asyncio.timeout(self._pace.answer):
                well = await self.program.ready()
        except Exception as error:  # noqa: BLE001 - a question that fails is one that was not answered
            log.debug("%s could not be asked whether it is ready: %r", self.program.name, error)
            well = False
        return well, well

    def _is_lost(self, silent: float, *, spoken: bool) -> bool:
        if self.program.ready is not None and self._state == "starting":
            return False
        if silent <= (self._pace.silence if spoken else self._pace.first_word):
            return False
        return self.program.disk is None or _has_room(self.program.disk)

    async def _end(self, process: asyncio.subprocess.Process, patience: float = STOP_SECONDS) -> None:
        """In good order; if it does not within so many seconds, by force."""
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(self.program.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            log.warning("%s does not stop; killing it", self.program.name)
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _tell(self, state: State) -> None:
        if state == "ready" and self._state != "ready":
            log.info("%s is ready", self.program.name)
        if state == "silent":
            log.warning("%s does not answer", self.program.name)
        known = dict(self.facts)
        self._state = state
        self.facts.update(state=state, restarts=self.restarts)
        if self.facts != known or state == "starting":
            self._changed()


def _has_room(disk: Path) -> bool:
    try:
        found = space(disk)
    except OSError:
        return False
    return found.free > found.reserve * ROOM_TO_START
