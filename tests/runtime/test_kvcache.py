"""KV states on disk: found by their tokens, bounded, private, and never trusted."""

import os
import stat
from pathlib import Path

import pytest

from kimi_runtime.kvcache import KvCache, cache_key, model_fingerprint

KEY = cache_key(["model", 1, "v1"])


def test_the_key_depends_on_every_part() -> None:
    keys = {cache_key(parts) for parts in (["a", 1], ["a", 2], ["b", 1], ["a", "1"], ["a"], ["a", 1, ""])}
    assert len(keys) == 6
    assert cache_key(["a", 1]) == cache_key(["a", 1])


def test_a_fingerprint_tells_models_apart(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"a" * 100)
    first = model_fingerprint(path)
    path.write_bytes(b"a" * 99 + b"b")
    assert model_fingerprint(path) != first


def test_the_longest_beginning_is_found_by_another_process(tmp_path: Path) -> None:
    KvCache(tmp_path, KEY).save([1, 2, 3], b"short")
    KvCache(tmp_path, KEY).save([1, 2, 3, 4, 5], b"long")
    cache = KvCache(tmp_path, KEY)
    entry, shared = cache.best([1, 2, 3, 4, 9])
    assert entry is not None
    assert shared == 4
    assert cache.load(entry) == b"long"
    entry, shared = cache.best([1, 2, 3])
    assert entry is not None
    assert (shared, cache.load(entry)) == (3, b"short")
    assert cache.best([7]) == (None, 0)
    assert KvCache(tmp_path, cache_key(["other"])).best([1, 2, 3]) == (None, 0)


def test_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        KvCache(tmp_path / "kv", KEY).save([1], b"x")
    finally:
        os.umask(before)
    for path in [tmp_path / "kv", *(tmp_path / "kv").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


@pytest.mark.parametrize("damage", ["cut", "flip", "magic", "empty", "json", "foreign"])
def test_a_damaged_entry_is_ignored_and_removed(tmp_path: Path, damage: str) -> None:
    KvCache(tmp_path, KEY).save([1, 2, 3], b"state" * 100)
    path = next(tmp_path.rglob("*.kv"))
    data = path.read_bytes()
    at = data.index(b"state")
    path.write_bytes(
        {
            "cut": data[:-1],
            "flip": data[:-1] + b"X",
            "magic": b"X" + data[1:],
            "empty": b"",
            "json": data[:20] + b"}{" + data[22:],
            "foreign": data[:at].replace(KEY.encode(), b"0" * 64) + data[at:],
        }[damage]
    )
    cache = KvCache(tmp_path, KEY)
    entry, _ = cache.best([1, 2, 3])
    assert entry is None or cache.load(entry) is None
    assert not path.exists()
    assert cache.best([1, 2, 3]) == (None, 0)


def test_the_size_is_bounded_and_the_oldest_goes(tmp_path: Path) -> None:
    cache = KvCache(tmp_path, KEY, max_bytes=10_000)
    for number in range(8):
        cache.save([number], b"x" * 2000)
        newest = max(tmp_path.rglob("*.kv"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (1000 + number, 1000 + number))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.kv")) <= 10_000
    assert cache.best([0]) == (None, 0)
    assert cache.best([7])[1] == 1
    cache.save([9], b"x" * 9000)
    assert cache.best([9]) == (None, 0)


def test_leftovers_of_dead_writers_go(tmp_path: Path) -> None:
    cache = KvCache(tmp_path, KEY)
    cache.save([1], b"x")
    folder = next(tmp_path.rglob("*.kv")).parent
    (folder / "a.999999999.tmp").write_bytes(b"x")
    (folder / f"b.{os.getpid()}.tmp").write_bytes(b"x")
    KvCache(tmp_path, KEY)
    assert sorted(path.suffixes[0] for path in folder.glob("*.tmp")) == [f".{os.getpid()}"]
