"""Sequences of a context with what they share: opens, forks, cuts, evicts and parks them, and keeps
beginnings on disk.

Keeps the cell table and the real cache in step. Knows no request.
"""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from kimi_runtime.cells import CellTable, Sequence
from kimi_runtime.kvcache import KvCache, Segment
from kimi_runtime.llama import Context
from kimi_runtime.parking import Lot
from kimi_runtime.radix import RadixTree

_DISK_GAIN = 32
_LEAST_SAVED = 64
_MOST_SAVED = 65536
_MOST_PINNED = 4


class Parked:
    """The state of an answer that waits: `history` are its tokens; `sequence` holds them while nobody needs
    the room, then its private end, from `start` on, is in the lot under `key`. The lowest `rank` stays
    longest."""

    def __init__(self, key: int, sequence: Sequence, rank: tuple[int, int]) -> None:
        self.key = key
        self.rank = rank
        self.history = list(sequence.tokens)
        self.start = 0
        self.sequence: Sequence | None = sequence


class PoolCounts(msgspec.Struct, kw_only=True):
    """Since the start. Tokens, but for `parked`, `offloaded`, `restored` and `recomputed` (answers)."""

    found_live: int = 0
    found_on_disk: int = 0
    parked: int = 0
    offloaded: int = 0
    restored: int = 0
    recomputed: int = 0


class Pool:
    """All sequences of one context. Called from the engine's thread only.

    `can_rewind`: whether the model's memory can be cut. Where it cannot (recurrent and hybrid models) a
    sequence is of use to a prompt only whole, so beginnings are kept as checkpoints of their own. Parked
    state beyond `lot_bytes` goes to the folder `lot`.
    """

    def __init__(
        self,
        context: Context,
        disk: KvCache | None,
        *,
        can_rewind: bool,
        lot: Path | None = None,
        lot_bytes: int = 256 << 20,
    ) -> None:
        self._context = context
        self._disk = disk
        self.can_rewind = can_rewind
        self._lot = Lot(lot, memory=lot_bytes)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kv-writer")
        self._scratch = context.options.sequences - 1
        self.table = CellTable(context.cells, context.options.sequences - 1)
        self.counts = PoolCounts()
        self._tree: RadixTree[Sequence] = RadixTree()
        self._cached: set[Sequence] = set()
        self._pinned: list[Sequence] = []
        self._parked: list[Parked] = []
        self._clock = itertools.count(1)

    def close(self) -> None:
        self._writer.shutdown(wait=True)
        self._lot.close()

    @property
    def lot_bytes(self) -> tuple[int, int]:
        """Bytes of parked state in memory and on disk."""
        return self._lot.in_memory, self._lot.on_disk

    # ------------------------------------------------------------ sequences

    def begin(self, prompt: list[int]) -> Sequence | None:
        """A sequence that already holds as much of `prompt` as any other does, live or on disk, but not all
        of it.

        None when there is no free sequence now.
        """
        usable = prompt[:-1]
        source, shared = self._best(usable)
        segments = self._disk.chain(usable, whole=not self.can_rewind) if self._disk is not None else []
        if segments and segments[-1].end >= shared + _DISK_GAIN:
            restored = self._restore(segments, source, shared, usable)
            if restored is not None:
                self.counts.found_on_disk += len(restored) - shared
                self.counts.found_live += shared
                return restored
            source, shared = self._best(usable)  # making room may have taken it
        if source is None:
            return self.open()
        self.counts.found_live += shared
        if source in self._cached and shared == len(source):
            self._uncache(source)
            return source
        self._touch(source)
        return self.fork(source, shared)

    def shared(self, prompt: list[int]) -> int:
        """How many tokens of `prompt` a sequence in memory holds."""
        return self._best(prompt)[1]

    def open(self) -> Sequence | None:
        """An empty sequence, at the price of a cached or parked one when all are in use."""
        sequence = self.table.open()
        while sequence is None and self._evict():
            sequence = self.table.open()
        return sequence

    def fork(self, source: Sequence, count: int) -> Sequence | None:
        """A new sequence that shares the first `count` tokens of `source`; none if that was evicted."""
        target = self.open()
        # Opening it may have evicted the source.
        if target is not None and count and source.tokens:
            self._context.copy_sequence(source.number, target.number, count)
            self.table.share(source, target, count)
        return target

    def drop(self, sequence: Sequence) -> None:
        self._tree.remove(sequence)
        self._cached.discard(sequence)
        if sequence in self._pinned:
            self._pinned.remove(sequence)
        self._context.remove(sequence.number)
        self.table.close(sequence)

    def cut(self, sequence: Sequence, length: int) -> None:
        """Forget what was decoded beyond `length` tokens."""
        self._context.remove(sequence.number, length)
        self.table.cut(sequence, length)

    def repair(self, sequence: Sequence) -> None:
        """Bring the real cache back to what the table says, after a step that failed in the middle."""
        self._context.remove(sequence.number, len(sequence))

    def make_room(self, cells: int) -> bool:
        """Evict cached and parked sequences until so many cells are free."""
        while self.table.free < cells:
            if not self._evict():
                return False
        return True

    def probe(self, tokens: int) -> float:
        """Seconds that a step of so many tokens takes now; it leaves nothing behind."""
        self.make_room(tokens)
        begun = time.perf_counter()
        numbers = range(tokens)
        self._context.decode([1] * tokens, numbers, [self._scratch] * tokens, numbers)
        seconds = time.perf_counter() - begun
        self._context.remove(self._scratch)
        return seconds

    # ------------------------------------------------------------ what is kept

    def index(self, sequence: Sequence) -> None:
        """Let later prompts find what a live sequence holds now."""
        self._tree.put(list(sequence.tokens), sequence)

    def keep(self, sequence: Sequence) -> None:
        """Nobody writes to the sequence any more; it stays for what its beginning is worth to others."""
        if not len(sequence):
            self.drop(sequence)
            return
        self._touch(sequence)
        self._cached.add(sequence)
        self.index(sequence)

    def pin(self, sequence: Sequence) -> None:
        """Keep the whole of a sequence as a trunk that goes last when room is short."""
        for pinned in self._pinned:
            if pinned.tokens == sequence.tokens:
                self._touch(pinned)
                return
        if len(sequence) < _LEAST_SAVED:
            return
        while len(self._pinned) >= _MOST_PINNED:
            oldest = min(self._pinned, key=lambda one: one.used_at)
            self._pinned.remove(oldest)
            self._cached.add(oldest)
        trunk = self.fork(sequence, len(sequence))
        if trunk is not None:
            self._touch(trunk)
            self._pinned.append(trunk)
            self.index(trunk)

    def checkpoint(self, sequence: Sequence) -> None:
        """Keep the state as it is now for later prompts, where the model cannot go back to it."""
        if not self.can_rewind and (copy := self.fork(sequence, len(sequence))) is not None:
            self.keep(copy)

    # ------------------------------------------------------------ parking

    def park(self, key: int, sequence: Sequence, rank: tuple[int, int]) -> Parked:
        """Put an answer's sequence aside; it may lose its cells, but nothing of what it says."""
        parked = Parked(key, sequence, rank)
        self._parked.append(parked)
        self.counts.parked += 1
        return parked

    def resume(self, parked: Parked) -> Sequence | None:
        """A sequence that holds as much of the history as can be had without computing; None when there is
        no free one now."""
        if parked.sequence is not None:
            self._parked.remove(parked)
            return parked.sequence
        sequence = self.begin([*parked.history, -1])
        if sequence is None:
            return None
        state = self._lot.take(parked.key)
        done, end = len(sequence), len(parked.history)
        fits = state is not None and parked.start <= done < end and self.make_room(end - parked.start)
        if fits and state is not None and self._append(sequence, state, end):
            self.table.extend(sequence, parked.history[done:])
            self.counts.restored += 1
        else:
            self.counts.recomputed += done < end
        return sequence

    def forget(self, parked: Parked) -> None:
        """The answer is not wanted any more."""
        if parked in self._parked:
            self._parked.remove(parked)
        if parked.sequence is not None:
            self.drop(parked.sequence)
        self._lot.drop(parked.key)

    def _offload(self, parked: Parked) -> None:
        sequence = parked.sequence
        assert sequence is not None
        self._parked.remove(parked)
        parked.sequence = None
        parked.start = self.table.shared_length(sequence) if self.can_rewind else 0
        if parked.start < len(sequence):
            state = self._context.save_range(sequence.number, parked.start, len(sequence), self._scratch)
            self._lot.put(parked.key, state)
        self.counts.offloaded += 1
        self.drop(sequence)

    # ------------------------------------------------------------ disk

    def save(self, sequence: Sequence) -> None:
        """Keep the state of a whole sequence on disk, as far as it is not there already."""
        tokens = list(sequence.tokens)
        if self._disk is None or not _LEAST_SAVED <= len(tokens) <= _MOST_SAVED:
            return
        entry, known = self._disk.best(tokens)
        if known == len(tokens):
            return
        if not self.can_rewind or known < _LEAST_SAVED:
            entry, known = None, 0
        state = self._context.save_range(sequence.number, known, len(tokens), self._scratch)
        self._writer.submit(self._disk.save, tokens, state, start=known, parent=entry)

    def save_newest(self, count: int) -> None:
        """Keep the sequences that were used last on disk; for idle moments."""
        for sequence in sorted(self._cached, key=lambda one: one.used_at, reverse=True)[:count]:
            self.save(sequence)

    def _restore(
        self, segments: list[Segment], source: Sequence | None, shared: int, tokens: list[int]
    ) -> Sequence | None:
        """The end of `segments`, going on from what `source` holds; None when that cannot be had."""
        needed = [segment for segment in segments if segment.end > shared]
        if source is not None:
            self._touch(source)
        at = min(shared, needed[0].start)
        cells = sum(len(segment.entry.tokens) - segment.start for segment in needed)
        if not self.make_room(cells) or (source is not None and len(source) < at):
            return None
        sequence = self.fork(source, at) if source is not None else self.open()
        for segment in needed:
            state = (
                self._disk.load(segment.entry) if self._disk is not None and sequence is not None else None
            )
            if sequence is None or state is None or not self._append(sequence, state, segment.end):
                break
            self.table.extend(sequence, tokens[len(sequence) : segment.end])
        if sequence is not None and len(sequence) <= shared:
            self.drop(sequence)
            return None
        return sequence

    def _append(self, sequence: Sequence, state: bytes, end: int) -> bool:
        """Let `sequence` go on, up to `end`, with saved state of its own positions."""
        return self._context.restore_range(sequence.number, state, len(sequence), end, self._scratch)

    # ------------------------------------------------------------ inside

    def _best(self, tokens: list[int]) -> tuple[Sequence | None, int]:
        if self.can_rewind:
            return self._tree.longest(tokens)
        return max(self._tree.prefixes(tokens), key=lambda found: found[1], default=(None, 0))

    def _touch(self, sequence: Sequence) -> None:
        sequence.used_at = next(self._clock)

    def _uncache(self, sequence: Sequence) -> None:
        self._cached.discard(sequence)
        self._tree.remove(sequence)

    def _evict(self) -> bool:
        """Give up one sequence: the cached one that was of no use for longest, then the parked one of the
        lowest rank, then a trunk."""
        if self._cached:
            self.drop(min(self._cached, key=lambda one: one.used_at))
        elif self._parked:
            self._offload(max(self._parked, key=lambda one: one.rank))
        elif self._pinned:
            self.drop(min(self._pinned, key=lambda one: one.used_at))
        else:
            return False
        return True
