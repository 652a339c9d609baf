"""Aggregates that many writers want at once, and how many decisions become one event (group commit).

Their state is held in memory and changed in place. ``apply`` returns how to take the change back, because
a writer tries its changes before the log has accepted them. A change that raises has changed nothing: what is
decided next is decided on a state that the log has, too.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

Undo = Callable[[], object]
"""Takes a change back; what it returns means nothing."""


class Change(msgspec.Struct, frozen=True, kw_only=True, tag_field="change", omit_defaults=True):
    """One part of an event that holds several. ``request_id`` names the request that asked for this part."""

    request_id: str | None = None


C_contra = TypeVar("C_contra", contravariant=True)
K = TypeVar("K")
V = TypeVar("V")


class Batched(Protocol[C_contra]):
    """A state that a group writer can hold."""

    def apply(self, change: C_contra, /) -> Undo:
        """Make the change; the result takes it back (in reverse order, if there are several). Where it raises,
        nothing has changed."""
        ...


class Journal:
    """The steps of one change. Each is noted before it is made, as what was there before: so all can be taken back
    at any moment, also in the middle of a step."""

    def __init__(self) -> None:
        self._undos: list[Undo] = []

    def note(self, undo: Undo) -> None:
        """Something is about to be done that ``undo`` takes back; harmless if it was not done after all."""
        self._undos.append(undo)

    def put(self, mapping: dict[K, V], key: K, value: V) -> None:
        undo = partial(mapping.__setitem__, key, mapping[key]) if key in mapping else partial(mapping.pop, key, None)
        self._undos.append(undo)
        mapping[key] = value

    def drop(self, mapping: dict[K, V], key: K) -> V:
        """Take a value out of a mapping and return it. Raises KeyError."""
        value = mapping[key]
        self._undos.append(partial(mapping.__setitem__, key, value))
        del mapping[key]
        return value

    def assign(self, thing: object, name: str, value: object) -> None:
        self._undos.append(partial(setattr, thing, name, getattr(thing, name)))
        setattr(thing, name, value)

    def join(self, members: set[V], member: V) -> None:
        if member not in members:
            self._undos.append(partial(members.discard, member))
            members.add(member)

    def leave(self, members: set[V], member: V) -> None:
        """Take a member out of a set, if it is one."""
        if member in members:
            self._undos.append(partial(members.add, member))
            members.discard(member)

    def take_back(self) -> None:
        """Undo every step, the last one first."""
        for undo in reversed(self._undos):
            undo()


def journaled(make: Callable[[Journal], object]) -> Undo:
    """Make a change wholly or, if it raises, not at all; the result takes it back."""
    journal = Journal()
    try:
        make(journal)
        return journal.take_back
    except BaseException:
        journal.take_back()
        raise


def apply_all(state: Batched[Any], changes: Iterable[Any]) -> list[Undo]:
    """Make all changes, or none if one of them raises; returns how to take each back."""
    undos: list[Undo] = []
    try:
        for change in changes:
            undos.append(state.apply(change))  # noqa: PERF401 - those made before one raises must be known
        return undos
    except BaseException:
        take_back(undos)
        raise


def take_back(undos: Sequence[Undo]) -> None:
    """Undo changes, the last one first."""
    for undo in reversed(undos):
        undo()
