"""States on disk: only what is new is written, what comes back is the same to the last bit, and what cannot
be trusted is computed again."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from kimi_runtime.cells import Sequence
from kimi_runtime.kvcache import KvCache
from kimi_runtime.llama import Context, ContextOptions, Logits, Model
from kimi_runtime.pool import Pool

KEY = "k" * 64


class Bench:
    """A context with a pool, driven by hand."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.context = Context(model, ContextOptions(cells=2048, batch=512, sequences=8, threads=1))
        self.disk = KvCache(folder, KEY)
        self.pool = Pool(self.context, self.disk, can_rewind=model.can_rewind)

    def read(self, sequence: Sequence, tokens: list[int]) -> Logits:
        """Evaluate tokens at the end of a sequence; the logits after the last."""
        start = len(sequence)
        positions = range(start, start + len(tokens))
        rows = self.context.decode(tokens, positions, [sequence.number] * len(tokens), [len(tokens) - 1])
        self.pool.table.extend(sequence, tokens)
        return rows[0].copy()

    def close(self) -> None:
        self.pool.close()
        self.context.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kv"


@pytest.fixture
def benches(tiny: Model, folder: Path) -> Generator[list[Bench]]:
    """Two starts, one after the other."""
    made = [Bench(tiny, folder)]
    yield made
    for bench in made:
        bench.close()


TRUNK = np.random.default_rng(1).integers(33, 250, size=200).tolist()
FIRST = np.random.default_rng(2).integers(33, 250, size=100).tolist()
SECOND = np.random.default_rng(3).integers(33, 250, size=100).tolist()


def fill(bench: Bench, *parts: list[int]) -> None:
    """Compute and keep the trunk with each of the parts behind it."""
    trunk = bench.pool.open()
    assert trunk is not None
    bench.read(trunk, TRUNK)
    bench.pool.save(trunk)
    _settle(bench)
    for part in parts:
        branch = bench.pool.fork(trunk, len(TRUNK))
        assert branch is not None
        bench.read(branch, part)
        bench.pool.save(branch)
        _settle(bench)


def _settle(bench: Bench) -> None:
    bench.pool._writer.submit(lambda: None).result()  # pyright: ignore[reportPrivateUsage]


def test_only_what_is_new_is_written(benches: list[Bench], folder: Path) -> None:
    fill(benches[0], FIRST, SECOND)
    sizes = sorted(path.stat().st_size for path in folder.rglob("*.kv"))
    assert len(sizes) == 3
    assert sizes[1] < 0.7 * sizes[2]


def test_a_chain_comes_back_to_the_last_bit(benches: list[Bench], tiny: Model, folder: Path) -> None:
    fill(benches[0], FIRST, SECOND)
    live = benches[0].pool.begin([*TRUNK, *SECOND, 65])
    assert live is None or len(live) <= len(TRUNK) + len(SECOND)
    straight = Bench(tiny, folder / "other")
    benches.append(straight)
    sequence = straight.pool.open()
    assert sequence is not None
    straight.read(sequence, TRUNK)
    straight.read(sequence, SECOND)
    expected = straight.read(sequence, [65])
    again = Bench(tiny, folder)
    benches.append(again)
    restored = again.pool.begin([*TRUNK, *SECOND, 65])
    assert restored is not None
    assert len(restored) == len(TRUNK) + len(SECOND)
    assert np.array_equal(again.read(restored, [65]), expected)
    # A second branch costs its own end only: the trunk is there already.
    found = again.pool.counts.found_on_disk
    other = again.pool.begin([*TRUNK, *FIRST, 65])
    assert other is not None
    assert again.pool.counts.found_on_disk - found <= len(TRUNK) + len(FIRST)


def test_a_live_trunk_is_completed_from_disk(benches: list[Bench], tiny: Model, folder: Path) -> None:
    fill(benches[0], FIRST)
    again = Bench(tiny, folder)
    benches.append(again)
    trunk = again.pool.open()
    assert trunk is not None
    again.read(trunk, TRUNK)
    again.pool.keep(trunk)
    used = again.pool.table.used
    sequence = again.pool.begin([*TRUNK, *FIRST, 65])
    assert sequence is not None
    assert len(sequence) == len(TRUNK) + len(FIRST)
    assert again.pool.table.used == used + len(FIRST)
    assert again.pool.counts.found_on_disk == len(FIRST)


def test_an_end_whose_beginning_is_gone_is_removed(benches: list[Bench], tiny: Model, folder: Path) -> None:
    fill(benches[0], FIRST)
    biggest = max(folder.rglob("*.kv"), key=lambda path: path.stat().st_size)
    biggest.unlink()
    again = Bench(tiny, folder)
    benches.append(again)
    sequence = again.pool.begin([*TRUNK, *FIRST, 65])
    assert sequence is not None
    assert len(sequence) == 0
    assert list(folder.rglob("*.kv")) == []


@pytest.mark.parametrize("which", ["beginning", "end"])
def test_damage_anywhere_in_a_chain_is_noticed(
    benches: list[Bench], tiny: Model, folder: Path, which: str
) -> None:
    fill(benches[0], FIRST)
    paths = sorted(folder.rglob("*.kv"), key=lambda path: path.stat().st_size)
    path = paths[-1] if which == "beginning" else paths[0]
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    again = Bench(tiny, folder)
    benches.append(again)
    sequence = again.pool.begin([*TRUNK, *FIRST, 65])
    assert sequence is not None
    assert len(sequence) == (0 if which == "beginning" else len(TRUNK))
    assert not path.exists()


def test_pinned_trunks_go_last(benches: list[Bench]) -> None:
    pool = benches[0].pool
    trunk = pool.open()
    assert trunk is not None
    benches[0].read(trunk, TRUNK)
    pool.pin(trunk)
    pool.keep(trunk)
    for number in range(6):
        other = pool.open()
        assert other is not None
        benches[0].read(other, [40 + number] * 50)
        pool.keep(other)
    assert pool.shared(TRUNK) == len(TRUNK)
    assert pool.make_room(2048 - len(TRUNK))
    assert pool.shared(TRUNK) == len(TRUNK)
    assert pool.make_room(2048)
    assert pool.shared(TRUNK) == 0
