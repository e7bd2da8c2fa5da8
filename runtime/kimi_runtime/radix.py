"""A radix tree over token ids: finds what shares the longest beginning with a prompt. Knows no cache.

After the tree of SGLang's RadixAttention (Zheng et al., 2024), as an index only: the values are sequences of
a KV cache in memory or entries on disk, which own the tokens' states.
"""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from kimi_runtime.tokens import common_prefix

Value = TypeVar("Value", bound=Hashable)


class _Node(Generic[Value]):
    """`edge` leads here from the parent; `values` end exactly here."""

    __slots__ = ("children", "edge", "parent", "values")

    def __init__(self, edge: list[int], parent: "_Node[Value] | None") -> None:
        self.edge = edge
        self.parent = parent
        self.children: dict[int, _Node[Value]] = {}
        self.values: dict[Value, None] = {}


class RadixTree(Generic[Value]):
    """Each value is there once, under the tokens it was put at."""

    def __init__(self) -> None:
        self._root: _Node[Value] = _Node([], None)
        self._places: dict[Value, _Node[Value]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, value: Value) -> bool:
        return value in self._places

    def __iter__(self) -> Iterator[Value]:
        return iter(self._places)

    def put(self, tokens: list[int], value: Value) -> None:
        """Put `value` at `tokens`; if it was elsewhere, move it."""
        self.remove(value)
        node, at = self._root, 0
        while at < len(tokens):
            child = node.children.get(tokens[at])
            if child is None:
                child = _Node(tokens[at:], node)
                node.children[tokens[at]] = child
                node = child
                break
            shared = common_prefix(child.edge, tokens[at : at + len(child.edge)])
            if shared < len(child.edge):
                child = _split(child, shared)
            node = child
            at += shared
        node.values[value] = None
        self._places[value] = node

    def remove(self, value: Value) -> None:
        """Take a value out; no error when it is not there."""
        node = self._places.pop(value, None)
        if node is None:
            return
        del node.values[value]
        while not node.values and not node.children and node.parent is not None:
            del node.parent.children[node.edge[0]]
            node = node.parent

    def longest(self, tokens: list[int]) -> tuple[Value | None, int]:
        """The value that shares most with the beginning of `tokens`, and how many tokens that is (never 0
        with a value)."""
        node, at = self._root, 0
        while at < len(tokens):
            child = node.children.get(tokens[at])
            if child is None:
                break
            shared = common_prefix(child.edge, tokens[at : at + len(child.edge)])
            node = child
            at += shared
            if shared < len(child.edge):
                break
        return (_any_below(node), at) if at else (None, 0)

    def prefixes(self, tokens: list[int]) -> Iterator[tuple[Value, int]]:
        """The values whose whole tokens are a beginning of `tokens`, shortest first, with their length."""
        node, at = self._root, 0
        while True:
            for value in node.values:
                yield value, at
            child = node.children.get(tokens[at]) if at < len(tokens) else None
            if child is None or tokens[at : at + len(child.edge)] != child.edge:
                return
            node = child
            at += len(child.edge)


def _split(node: _Node[Value], length: int) -> _Node[Value]:
    """Put a node into the middle of the edge to `node`; returns the new one."""
    assert node.parent is not None
    upper: _Node[Value] = _Node(node.edge[:length], node.parent)
    node.parent.children[node.edge[0]] = upper
    node.edge = node.edge[length:]
    node.parent = upper
    upper.children[node.edge[0]] = node
    return upper


def _any_below(node: _Node[Value]) -> Value:
    """A value at or under `node`: every leaf has one."""
    while not node.values:
        node = next(iter(node.children.values()))
    return next(iter(node.values))
