"""Moments as the OpenStack APIs write and read them."""

from datetime import UTC, datetime

from domain.errors import Invalid

FIRST_YEAR, LAST_YEAR = 1900, 9000
"""In which one can compute with moments without falling off the calendar."""


def seconds(moment: datetime) -> str:
    """``2026-01-31T10:00:00Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def micros(moment: datetime | None) -> str | None:
    """``2026-01-31T10:00:00.000000``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") if moment else None


def parse(name: str, text: str) -> datetime:
    """An ISO 8601 moment from a query string; UTC if it names no zone. Raises Invalid."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"Invalid input for query parameters {name}. Value: {text}. {text!r} is not a 'date-time'"
        ) from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise Invalid(f"Invalid input for query parameters {name}. Value: {text}. The year is out of range")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
