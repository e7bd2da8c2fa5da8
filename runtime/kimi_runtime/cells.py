"""Which tokens each sequence of the KV cache holds and which cells they share. Knows no model and no
request."""

import itertools
from collections.abc import Sequence as Tokens

import numpy as np
from numpy.typing import NDArray

from kimi_runtime.tokens import common_prefix


class Sequence:
    """One sequence id of the cache: its tokens in order, and the (virtual) cell of each."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.tokens: list[int] = []
        self.cells: NDArray[np.int32] = np.empty(256, dtype=np.int32)
        self.used_at = 0

    def __len__(self) -> int:
        return len(self.tokens)


class CellTable:
    """Counts cells exactly as the unified cache uses them: shared ones once. `capacity` in tokens."""

    def __init__(self, capacity: int, sequences: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._references = np.zeros(capacity, dtype=np.int32)
        self._free_cells = list(range(capacity - 1, -1, -1))
        self._free_numbers = list(range(sequences - 1, -1, -1))
        self._clock = itertools.count(1)
        self.cached: list[Sequence] = []
        """Finished sequences, kept for what their beginning is worth to later requests."""

    @property
    def free(self) -> int:
        return self.capacity - self.used

    def open(self) -> Sequence | None:
        """A new empty sequence; None when every id is in use."""
        if not self._free_numbers:
            return None
        return Sequence(self._free_numbers.pop())

    def extend(self, sequence: Sequence, tokens: Tokens[int]) -> None:
        """Note that `tokens` were decoded at the end of the sequence. There must be room."""
        start, end = len(sequence.tokens), len(sequence.tokens) + len(tokens)
        if end > len(sequence.cells):
            sequence.cells = np.resize(sequence.cells, max(end, 2 * len(sequence.cells)))
        taken = [self._free_cells.pop() for _ in tokens]
        sequence.cells[start:end] = taken
        self._references[taken] = 1
        sequence.tokens.extend(tokens)
        self.used += len(taken)

    def share(self, source: Sequence, target: Sequence, count: int) -> None:
        """Note that the empty `target` got the first `count` tokens of `source`."""
        target.cells = np.concatenate([source.cells[:count], np.empty(256, dtype=np.int32)])
        target.tokens = source.tokens[:count]
        self._references[source.cells[:count]] += 1

    def cut(self, sequence: Sequence, length: int) -> None:
        """Note that the sequence was cut to `length` tokens."""
        gone = sequence.cells[length : len(sequence.tokens)]
        self._references[gone] -= 1
        empty = gone[self._references[gone] == 0]
        self._free_cells.extend(empty.tolist())
        self.used -= len(empty)
        del sequence.tokens[length:]

    def close(self, sequence: Sequence) -> None:
        """Note that the sequence is gone; its id may be used again."""
        self.cut(sequence, 0)
        self._free_numbers.append(sequence.number)
        if sequence in self.cached:
            self.cached.remove(sequence)

    def keep(self, sequence: Sequence) -> None:
        self.touch(sequence)
        self.cached.append(sequence)

    def touch(self, sequence: Sequence) -> None:
        sequence.used_at = next(self._clock)

    def oldest(self) -> Sequence | None:
        """The cached sequence that was of no use for longest."""
        return min(self.cached, key=lambda sequence: sequence.used_at, default=None)

    def longest_prefix(self, tokens: list[int], candidates: list[Sequence]) -> tuple[Sequence | None, int]:
        """The sequence that shares most with the beginning of `tokens`, and how many tokens that is."""
        best: tuple[Sequence | None, int] = (None, 0)
        for sequence in candidates:
            # Most share nothing or everything: look at one token before comparing lists.
            at = best[1]
            if at < min(len(sequence), len(tokens)) and sequence.tokens[at] == tokens[at]:
                shared = common_prefix(sequence.tokens, tokens)
                if shared > at:
                    best = (sequence, shared)
        return best
