"""The serial console's log, which virtlogd writes and rotates."""

from pathlib import Path

LOG_LIMIT = 1024 * 1024
"""Bytes of the end of a log that are read at most; Nova gives 100 KiB."""


def read_console(log: Path, lines: int | None, limit: int = LOG_LIMIT) -> str:
    """The last ``lines`` lines (all, if None) of the last ``limit`` bytes. Blocks.

    Bytes that are no UTF-8 are shown as replacement characters: it is whatever the guest printed.
    """
    content = _tail(log, limit)
    if len(content) < limit:
        content = _tail(log.with_name(f"{log.name}.0"), limit - len(content)) + content
    text = content.decode(errors="replace")
    if lines is None:
        return text
    if lines <= 0:
        return ""
    end = "\n" if text.endswith("\n") else ""
    return "\n".join(text.removesuffix("\n").split("\n")[-lines:]) + end


def _tail(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - limit))
            return file.read(limit)
    except FileNotFoundError:
        return b""
