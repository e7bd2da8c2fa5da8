"""Which tokens each sequence of the KV cache holds and which cells they share. Knows no model and no
request."""

from collections.abc import Sequence as Tokens

import numpy as np
from numpy.typing import NDArray


class Sequence:
    """One sequence id of the cache: its tokens in order, and the (virtual) cell of each. `used_at` is for
    whoever decides what goes first when room is short."""

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

    def shared_length(self, sequence: Sequence) -> int:
        """How many tokens at the beginning have cells that other sequences hold too; the rest is private."""
        references = self._references[sequence.cells[: len(sequence.tokens)]]
        shared = np.flatnonzero(references > 1)
        return int(shared[-1]) + 1 if len(shared) else 0
