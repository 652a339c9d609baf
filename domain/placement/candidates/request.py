"""What a search for allocation candidates asks for."""

from typing import Literal

import msgspec


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Resources that belong together. Each set in a tuple of sets must be met by one of its members."""

    resources: dict[str, int] = {}
    required: tuple[frozenset[str], ...] = ()
    """Traits."""
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    """Aggregates."""
    not_member_of: frozenset[str] = frozenset()
    in_tree: str | None = None
    """A provider in whose tree it must be."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Groups by suffix: the one without a suffix may be spread over a tree and what is shared with it, each other one
    comes from a single provider."""

    groups: dict[str, Group]
    group_policy: Literal["none", "isolate"] | None = None
    """``isolate``: no two groups with a suffix on one provider."""
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()
    same_subtrees: tuple[frozenset[str], ...] = ()
    """Suffixes whose providers must all lie under one of them."""
    nested: bool = True
    """Whether one candidate may use several providers of a tree (from microversion 1.29)."""
    limit: int | None = None


class Candidate(msgspec.Struct, frozen=True):
    """One way to meet a request: amounts by provider and class, and the providers that meet each group."""

    allocations: dict[str, dict[str, int]]
    mappings: dict[str, frozenset[str]]
