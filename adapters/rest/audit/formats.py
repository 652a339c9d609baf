"""In which form events are told."""

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

from adapters.rest.audit.cadf import cadf_event
from adapters.rest.audit.cloud_events import BATCH, cloud_event
from adapters.rest.kit.errors import JSON
from adapters.rest.kit.operation import Call
from domain.errors import Invalid
from domain.log.record import Recorded

Format = Callable[[Recorded, bool], dict[str, Any]]
"""Makes the document of an event; whether with everything that only operators know."""
CLOUD_EVENTS, CADF = "cloudevents", "cadf"
MEDIA_TYPES = {CLOUD_EVENTS: BATCH, CADF: JSON}
"""Of a page, by the names of the formats."""


async def format_of(call: Call) -> tuple[str, Format]:
    """The name of the format that is asked for, and what makes it. Raises Invalid."""
    name = call.query.get("format", CLOUD_EVENTS)
    if name == CADF:
        # The first time it takes a third of a second, for which nobody else should wait.
        await asyncio.to_thread(importlib.import_module, "pycadf.event")
        return name, cadf_event
    if name == CLOUD_EVENTS:
        return name, cloud_event
    raise Invalid(f"There is no format {name[:64]!r}: it is {CLOUD_EVENTS} or {CADF}.")
