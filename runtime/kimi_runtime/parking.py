"""Where the private state of a parked answer waits: in memory, then on disk, then not at all.

Knows no cache and no request. What is forgotten is computed again, so every failure here is only slower.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """`state` in memory, or `path` on disk with the digest that it must have."""

    size: int
    state: bytes | None = None
    path: Path | None = None
    digest: str = ""


class Lot:
    """Bytes by key; the oldest go to `folder` when there are more than `memory` bytes, and are forgotten
    beyond `disk` bytes. Called from one thread."""

    def __init__(self, folder: Path | None, *, memory: int = 256 << 20, disk: int = 2 << 30) -> None:
        self._folder = folder
        self._memory = memory
        self._disk = disk
        self._places: dict[int, _Place] = {}
        self.in_memory = 0
        self.on_disk = 0
        if folder is not None:
            _sweep(folder)

    def __len__(self) -> int:
        return len(self._places)

    def put(self, key: int, state: bytes) -> None:
        self.drop(key)
        self._places[key] = _Place(size=len(state), state=state)
        self.in_memory += len(state)
        for oldest in list(self._places):
            if self.in_memory <= self._memory:
                break
            if self._places[oldest].state is not None:
                self._move_out(oldest)

    def take(self, key: int) -> bytes | None:
        """The bytes, which are then gone from here; None when they were forgotten or damaged."""
        place = self._places.get(key)
        state = place.state if place is not None else None
        if place is not None and place.path is not None:
            with contextlib.suppress(OSError):
                state = place.path.read_bytes()
            if state is not None and _digest(state) != place.digest:
                state = None
        self.drop(key)
        return state

    def drop(self, key: int) -> None:
        place = self._places.pop(key, None)
        if place is None:
            return
        if place.path is None:
            self.in_memory -= place.size
            return
        self.on_disk -= place.size
        with contextlib.suppress(OSError):
            place.path.unlink()

    def close(self) -> None:
        for key in list(self._places):
            self.drop(key)

    def _move_out(self, key: int) -> None:
        place = self._places[key]
        assert place.state is not None
        self.drop(key)
        if self._folder is None or self.on_disk + place.size > self._disk:
            return
        path = self._folder / f"{os.getpid()}-{key}.parked"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(place.state)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            return
        self._places[key] = _Place(size=place.size, path=path, digest=_digest(place.state))
        self.on_disk += place.size


def _digest(state: bytes) -> str:
    return hashlib.blake2b(state, digest_size=16).hexdigest()


def _sweep(folder: Path) -> None:
    """Remove what processes that are gone left behind."""
    for path in folder.glob("*.parked"):
        with contextlib.suppress(OSError, ValueError):
            try:
                os.kill(int(path.name.partition("-")[0]), 0)
            except ProcessLookupError:
                path.unlink()
