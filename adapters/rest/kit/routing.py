"""From a path to the operations declared there: one step a segment."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.rest.kit.operation import Operation


class _Node:
    __slots__ = ("children", "names", "operations", "wildcard")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.wildcard: _Node | None = None
        self.operations: dict[str, list[Operation]] = {}
        self.names: tuple[str, ...] = ()
        """Of the path's parameters, in order."""


Match = tuple[dict[str, list[Operation]], dict[str, str]]
"""The operations at a path by method, and the parameters in the path."""


class Router:
    """The operations of a face, by path."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            self._add(operation)

    def _add(self, operation: Operation) -> None:
        node = self._root
        names: list[str] = []
        for segment in _segments(operation.path):
            if segment.startswith("{"):
                names.append(segment.strip("{}"))
                node.wildcard = node.wildcard or _Node()
                node = node.wildcard
            else:
                node = node.children.setdefault(segment, _Node())
        assert not node.operations or node.names == tuple(names), f"{operation.path} is declared differently"
        node.names = tuple(names)
        node.operations.setdefault(operation.method, []).append(operation)

    def match(self, path: str) -> Match | None:
        """What is declared at ``path``; a segment as it stands goes before a parameter."""
        node = self._root
        values: list[str] = []
        for segment in _segments(path):
            child = node.children.get(segment)
            if child is None:
                child = node.wildcard
                if child is None:
                    return None
                values.append(segment)
            node = child
        if not node.operations:
            return None
        return node.operations, dict(zip(node.names, values, strict=True))


def _segments(path: str) -> list[str]:
    stripped = path.strip("/")
    return stripped.split("/") if stripped else []
