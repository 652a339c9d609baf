"""Outside programs and files, with failures that a tenant may read."""

import asyncio
import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import HostFailed

NO_SPACE = "There is no space left on the host's disk."
PASSAGE = 0o711
"""The mode of a directory through which everybody may pass, but where nobody else sees what there is."""
COMMAND_TIMEOUT = 120.0
"""Seconds; what we run takes milliseconds, on a host in distress seconds."""


async def run(
    message: str,
    *argv: str | Path,
    stdin: str | None = None,
    seconds: float = COMMAND_TIMEOUT,
    keeps: Collection[int] = (),
) -> str:
    """Run a program to its end, with ``stdin`` to read, and return what it printed. It has the file descriptors in
    ``keeps``, too, so that locks on them last as long as it does.

    A failure raises HostFailed with ``message``; what the program said is in the details. Cancelled, or at the
    end of its time, the program is killed and waited for.
    """
    words = [str(word) for word in argv]
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=tuple(keeps),
        )
    except OSError as error:
        raise HostFailed(message, f"{words[0]}: {error.strerror}") from error
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate(None if stdin is None else stdin.encode())
    except TimeoutError as error:
        raise HostFailed(message, f"{' '.join(words)}: no end after {seconds:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = errors.decode(errors="replace").strip()
        no_space = "No space left on device" in said
        raise HostFailed(NO_SPACE if no_space else message, f"{' '.join(words)}: {said or process.returncode}")
    return output.decode(errors="replace")


def make_directory(path: Path, mode: int, group: int = -1) -> None:
    """Have a directory with exactly this mode, whatever the process's umask, and those above it that are missing
    for everybody to pass through. Raises OSError."""
    for missing in reversed([parent for parent in path.parents if not parent.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(PASSAGE)
    path.mkdir(exist_ok=True)
    os.chown(path, -1, group)
    path.chmod(mode)


@contextmanager
def file_failures(message: str) -> Iterator[None]:
    """Turn an OSError into HostFailed with ``message``, or with the one for a full disk."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise HostFailed(NO_SPACE if full else message, str(error)) from error
