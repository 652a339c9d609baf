"""Structured logs: one JSON object a line, always with the role, the cell and the request id at work."""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from handlers.context import current_request

FOLD_SECONDS = 60.0
OF_ONE_KIND = 100
"""Messages in that time."""
OF_ONE_SOURCE = 10
MAX_KINDS = 10_000
"""That are counted apart, so that memory is bounded, too."""


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, role: str, cell: str) -> None:
        super().__init__()
        self._fixed = {"role": role, "cell": cell}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            **self._fixed,
            "request_id": current_request.get(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _in_ascii(line)


class Folding(logging.Filter):
    """Lets through so many equal messages a minute, and then tells how many more there were.

    Equal are those of one kind: the same words, whatever they are about. So nobody outside decides how fast a log
    grows. It concerns warnings and worse, and whatever names its ``source`` (``extra={"source": address}``): of
    one source fewer are let through, so that the loudest does not hide the others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._since = clock()
        self._seen: Counter[tuple[object, ...]] = Counter()
        self._folded: Counter[tuple[str, int, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it shall be written."""
        if self._clock() - self._since > FOLD_SECONDS:
            self._begin_anew()
        source = getattr(record, "source", None)
        if source is None and record.levelno < logging.WARNING:
            return True
        kind = record.name, record.levelno, str(record.msg)
        if (source is None or self._has_share((*kind, source), OF_ONE_SOURCE)) and self._has_share(kind, OF_ONE_KIND):
            return True
        if kind in self._folded or len(self._folded) < MAX_KINDS:
            self._folded[kind] += 1
        return False

    def _has_share(self, whose: tuple[object, ...], share: int) -> bool:
        """Whether one more is within the share; those that are too many to be counted have none."""
        if whose not in self._seen and len(self._seen) >= MAX_KINDS:
            return False
        self._seen[whose] += 1
        return self._seen[whose] <= share

    def _begin_anew(self) -> None:
        folded, self._folded = self._folded, Counter()
        self._seen.clear()
        self._since = self._clock()
        for (name, level, words), count in folded.items():
            logging.getLogger(name).log(level, "… and %s more like: %s", f"{count:,}", words)


def _in_ascii(line: dict[str, object]) -> str:
    """As JSON, whatever does not print escaped. Nearly every line is plain text, which a cheaper encoder writes."""
    try:
        text = msgspec.json.encode(line).decode()
    except (TypeError, UnicodeEncodeError):  # as lone surrogates are
        return json.dumps(line, default=str)
    return text if text.isascii() else json.dumps(line)


def _without_what_no_line_shows() -> None:
    """See "Optimization" in Python's documentation of logging: the place in the source, thread and process."""
    logging._srcfile = None  # noqa: SLF001 - it is documented
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def configure(role: str, cell: str, level: str) -> None:
    """Log to standard error; the supervisor keeps a file of it for each role."""
    _without_what_no_line_shows()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(role, cell))
    handler.addFilter(Folding())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("nats").setLevel(logging.WARNING)
