"""Aggregates that many writers want at once, and how many decisions become one event (group commit).

Their state is held in memory and changed in place. ``apply`` returns how to take the change back, because
a writer tries its changes before the log has accepted them.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

Undo = Callable[[], object]
"""Takes a change back; what it returns means nothing."""


class Change(msgspec.Struct, frozen=True, kw_only=True, tag_field="change", omit_defaults=True):
    """One part of an event that holds several. ``request_id`` names the request that asked for this part."""

    request_id: str | None = None


C_contra = TypeVar("C_contra", contravariant=True)


class Batched(Protocol[C_contra]):
    """A state that a group writer can hold."""

    def apply(self, change: C_contra, /) -> Undo:
        """Make the change; the result takes it back (in reverse order, if there are several)."""
        ...
