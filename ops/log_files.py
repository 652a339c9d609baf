"""The programs' log files: bounded, however much somebody makes a program say."""

import json
import logging
import shutil
from contextlib import suppress
from pathlib import Path

LOG_BYTES = 8 * 1024 * 1024
"""A file that has grown beyond this is put aside."""
LOGS_KEPT = 3
"""How many that were put aside are kept: ``api-1.log.1`` is newer than ``api-1.log.2``."""
TAIL_BYTES = 64 * 1024
LONGEST_WORDS = 400

log = logging.getLogger(__name__)


def rotate(directory: Path, *, largest: int = LOG_BYTES, kept: int = LOGS_KEPT) -> None:
    """Put aside what has grown too large. Blocks.

    The programs go on writing into the file that they have open, which must have been opened for appending: what
    was in it is copied and cut off. Where there is no room for a copy it is cut off all the same.
    """
    for file in directory.glob("*.log"):
        try:
            if file.stat().st_size > largest:
                _put_aside(file, kept)
        except OSError as error:
            log.warning("%s cannot be put aside: %s", file, error)


def _put_aside(file: Path, kept: int) -> None:
    aside = [file.with_name(f"{file.name}.{number}") for number in range(1, kept + 1)]
    for older, newer in zip(reversed(aside), reversed(aside[:-1]), strict=False):
        if newer.exists():
            newer.replace(older)
    with file.open("r+b") as source:
        try:
            with aside[0].open("wb") as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            with suppress(OSError):
                aside[0].unlink()
            log.warning("what %s held is dropped, as it cannot be copied: %s", file, error)
        source.truncate(0)


def size(file: Path) -> int:
    """Bytes in a file; 0 if there is none."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def last_words(file: Path, since: int = 0) -> str:
    """Why a program ended, as far as its log tells: the last error or, without one, the last line.

    ``since`` is how large the file was before the program was started: what is older is of earlier runs.
    """
    try:
        with file.open("rb") as source:
            end = source.seek(0, 2)
            source.seek(max(since if since <= end else 0, end - TAIL_BYTES))
            text = source.read().decode(errors="replace")
    except OSError as error:
        return f"its log cannot be read: {error}"
    # The frame that a group of exceptions is drawn in says nothing.
    lines = [words for line in text.splitlines() if (words := line.strip(" \t|+-"))]
    said = [(_error_in(line), line) for line in lines]
    errors = [error for error, _ in said if error]
    words = errors[-1] if errors and said[-1][0] is not None else (lines[-1] if lines else "(nothing)")
    return f"its log, {file}, ends with: {words[-LONGEST_WORDS:]}"


def _error_in(line: str) -> str | None:
    """The error in a structured line, "" if it tells of none; None for a line of another kind."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    if not isinstance(told, dict) or "message" not in told:
        return None
    if told.get("level") not in {"WARNING", "ERROR", "CRITICAL"}:
        return ""
    traceback = [words for part in str(told.get("exception", "")).splitlines() if (words := part.strip(" \t|+-"))]
    return ": ".join([str(told["message"]), *traceback[-1:]])
