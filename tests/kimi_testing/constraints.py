"""Constraints that make what an engine does comparable to the last bit, whatever processor it runs on.

What random weights say hangs on the last bit of a sum, and the order of sums differs between batches. So
tests say which tokens come, and compare what the model thought of them within a tolerance.
"""

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.05
"""Of logits: the order of sums makes a hundredth of it, a wrong state a hundred times as much."""


class Only:
    """Lets an answer say one text and nothing else; `rows` are the logits before each of its tokens."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens
        self.rows: list[NDArray[np.float32]] = []
        self._at = 0

    def accept(self, token: int) -> None:
        assert token == self.tokens[self._at]
        self._at += 1

    def forced(self) -> list[int]:
        return []

    def apply(self, row: NDArray[np.float32]) -> None:
        self.rows.append(row.copy())
        row[:] = -np.inf
        row[self.tokens[self._at]] = 0.0

    def agrees(self, other: "Only") -> bool:
        """Whether the model thought the same of both at every token."""
        both = zip(self.rows, other.rows, strict=True)
        return all(float(np.abs(one - two).max()) < TOLERANCE for one, two in both)


class Dice:
    """Replaces what the model thinks by chances of its own: mostly the text goes on in a cycle, now and
    then anything else of it comes."""

    def __init__(self, cycle: list[int], weight: float) -> None:
        self._cycle = cycle
        self._weight = weight
        self._last = cycle[-1]

    def accept(self, token: int) -> None:
        self._last = token

    def forced(self) -> list[int]:
        return []

    def apply(self, row: NDArray[np.float32]) -> None:
        row[:] = -np.inf
        row[self._cycle] = np.linspace(0, 1, len(self._cycle))
        row[self._cycle[(self._cycle.index(self._last) + 1) % len(self._cycle)]] += self._weight
