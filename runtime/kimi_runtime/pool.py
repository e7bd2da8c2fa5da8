"""Sequences of a context with what they share: opens, forks, cuts and evicts them, and keeps beginnings on
disk.

Keeps the cell table and the real cache in step. Knows no request.
"""

from concurrent.futures import ThreadPoolExecutor

from kimi_runtime.cells import CellTable, Sequence
from kimi_runtime.kvcache import KvCache
from kimi_runtime.llama import Context

_DISK_GAIN = 32
_LEAST_SAVED = 64
_MOST_SAVED = 4096


class Pool:
    """All sequences of one context. Called from the engine's thread only."""

    def __init__(self, context: Context, disk: KvCache | None, *, can_rewind: bool) -> None:
        self._context = context
        self._disk = disk
        self._can_rewind = can_rewind
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kv-writer")
        self.table = CellTable(context.cells, context.options.sequences)

    def close(self) -> None:
        self._writer.shutdown(wait=True)

    def begin(self, prompt: list[int], live: list[Sequence]) -> Sequence | None:
        """A sequence that already holds as much of `prompt` as any other does, live or on disk, but not all
        of it.

        None when there is no free sequence now.
        """
        usable = prompt[:-1]
        source, shared = self._best(usable, live)
        entry, stored = self._disk.best(usable) if self._disk is not None else (None, 0)
        if (
            entry is not None
            and stored >= shared + _DISK_GAIN
            and (self._can_rewind or stored == len(entry.tokens))
        ):
            restored = self._restore(entry.tokens, stored, self._disk.load(entry) if self._disk else None)
            if restored is not None:
                return restored
        if source is None:
            return self.open()
        if source in self.table.cached and shared == len(source):
            self.table.cached.remove(source)
            return source
        self.table.touch(source)
        return self.fork(source, shared)

    def open(self) -> Sequence | None:
        """An empty sequence, at the price of the oldest cached one when all are in use."""
        sequence = self.table.open()
        while sequence is None and self._evict():
            sequence = self.table.open()
        return sequence

    def fork(self, source: Sequence, count: int) -> Sequence | None:
        """A new sequence that shares the first `count` tokens of `source`."""
        target = self.open()
        if target is not None and count:
            self._context.copy_sequence(source.number, target.number, count)
            self.table.share(source, target, count)
        return target

    def drop(self, sequence: Sequence) -> None:
        self._context.remove(sequence.number)
        self.table.close(sequence)

    def repair(self, sequence: Sequence) -> None:
        """Bring the real cache back to what the table says, after a step that failed in the middle."""
        self._context.remove(sequence.number, len(sequence))

    def make_room(self, cells: int) -> bool:
        """Evict cached sequences until so many cells are free."""
        while self.table.free < cells:
            if not self._evict():
                return False
        return True

    def save(self, sequence: Sequence) -> None:
        """Keep the state of a whole sequence on disk, unless that is there already."""
        tokens = list(sequence.tokens)
        if self._disk is None or not _LEAST_SAVED <= len(tokens) <= _MOST_SAVED:
            return
        if self._disk.best(tokens)[1] == len(tokens):
            return
        self._writer.submit(self._disk.save, tokens, self._context.save_sequence(sequence.number))

    def save_newest(self, count: int) -> None:
        """Keep the sequences that were used last on disk; for idle moments."""
        newest = sorted(self.table.cached, key=lambda sequence: sequence.used_at, reverse=True)
        for sequence in newest[:count]:
            self.save(sequence)

    def _best(self, tokens: list[int], live: list[Sequence]) -> tuple[Sequence | None, int]:
        candidates = [*self.table.cached, *live]
        if not self._can_rewind:
            candidates = [s for s in candidates if tokens[: len(s)] == s.tokens]
        return self.table.longest_prefix(tokens, candidates)

    def _restore(self, tokens: list[int], count: int, state: bytes | None) -> Sequence | None:
        if state is None or not self.make_room(len(tokens)):
            return None
        sequence = self.open()
        if sequence is None:
            return None
        if not self._context.restore_sequence(sequence.number, state):
            self.table.close(sequence)
            return None
        self.table.extend(sequence, tokens)
        if count < len(tokens):
            self._context.remove(sequence.number, count)
            self.table.cut(sequence, count)
        return sequence

    def _evict(self) -> bool:
        oldest = self.table.oldest()
        if oldest is None:
            return False
        self.drop(oldest)
        return True
