"""Where parked state waits: bounded, private, and believed only when it is what was put there."""

import os
import stat
from pathlib import Path

from kimi_runtime.parking import Lot


def test_the_oldest_go_to_disk_and_then_nowhere(tmp_path: Path) -> None:
    lot = Lot(tmp_path / "lot", memory=100, disk=100)
    for key in range(5):
        lot.put(key, bytes([key]) * 50)
    assert (lot.in_memory, lot.on_disk) == (100, 100)
    assert lot.take(0) == b"\x00" * 50
    assert lot.take(2) is None
    assert lot.take(3) == b"\x03" * 50
    assert lot.take(3) is None
    assert lot.take(4) == b"\x04" * 50
    for path in (tmp_path / "lot").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lot.close()
    assert list((tmp_path / "lot").iterdir()) == []
    assert (lot.in_memory, lot.on_disk) == (0, 0)


def test_what_was_changed_on_disk_is_not_believed(tmp_path: Path) -> None:
    lot = Lot(tmp_path, memory=0)
    lot.put(1, b"state")
    next(tmp_path.iterdir()).write_bytes(b"stale")
    assert lot.take(1) is None
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_what_does_not_fit_is_forgotten() -> None:
    lot = Lot(None, memory=10)
    lot.put(1, b"x" * 8)
    lot.put(2, b"y" * 8)
    assert lot.take(1) is None
    assert lot.take(2) == b"y" * 8


def test_leftovers_of_dead_processes_go(tmp_path: Path) -> None:
    for name in ("999999999-1.parked", f"{os.getpid()}-1.parked", "note.txt"):
        (tmp_path / name).write_bytes(b"x")
    Lot(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{os.getpid()}-1.parked", "note.txt"]
