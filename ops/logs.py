"""Structured logs: one JSON object a line, always with the role, the cell and the request id at work."""

import json
import logging
import sys
from datetime import UTC, datetime

from handlers.context import current_request


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, role: str, cell: str) -> None:
        super().__init__()
        self._fixed = {"role": role, "cell": cell}

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            **self._fixed,
            "request_id": current_request.get(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(role: str, cell: str, level: str) -> None:
    """Log to standard error; the supervisor keeps a file of it for each role."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(role, cell))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("nats").setLevel(logging.WARNING)
