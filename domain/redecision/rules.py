"""What a rule is here: the decision that led to an event, asked again with what the event says was wanted."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from msgspec.structs import replace

from domain.catalogue.quota import Limits
from domain.errors import LightcurveError, Refused
from domain.log.batch import Change
from domain.log.record import Event, Metadata

T = TypeVar("T")

Rule = Callable[[Any, Any, Metadata], Event | None]
"""Of the state before it, the event, and what surrounds it: what would be recorded. Raises Refused and Invalid."""
Batch = Callable[[Any, Any, Limits], Iterable[Change]]
"""The same for one of several changes in an event."""


def as_said(_state: Any, event: Event, _meta: Metadata) -> Event:
    """For what somebody says, and nothing forbids."""
    return event


def there(state: T | None) -> T:
    """Raises Refused for what is not there."""
    if state is None:
        raise Refused("redecision.nothing_there", "It was not there.")
    return state


def batch_decided(
    batch: Batch, state: Any, changes: Iterable[Change], limits: Limits, differences: list[str]
) -> None:
    """Decide changes anew, each on the state after those before it. ``state`` is changed, and ``differences`` get
    what differs."""
    for change in changes:
        asked = replace(change, request_id=None)
        name = change.__struct_config__.tag
        try:
            decided = [replace(each, request_id=None) for each in batch(state, change, limits)]
            if asked not in decided:
                differences.append(f"{name}: nothing, there was nothing to record")
        except LightcurveError as error:
            differences.append(f"{name} refused: {error.message}")
        state.apply(change)
