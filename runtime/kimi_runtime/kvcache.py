"""KV states of prompt beginnings on disk, so that nothing is computed twice. Knows no engine and no prompt
text.

An entry is one file: a magic line, a JSON line (tokens, digest of the state), the state. An entry may hold
the end of its tokens only; `parent` then names the entry that holds what comes before. The folder's name is
a hash of all that makes a state usable: model, engine settings, library version. Anything unreadable is
removed.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from kimi_runtime.radix import RadixTree

_MAGIC = b"kimi-kv 2\n"
_MAX_HEADER = 8 << 20
DEFAULT_BYTES = 2 << 30


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    tokens: str
    digest: str
    size: int
    start: int = 0
    parent: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The state of `tokens[start:]`; what comes before is in the entry whose file is called `parent`."""

    path: Path
    tokens: tuple[int, ...]
    start: int = 0
    parent: str = ""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """The positions [start, end) of a prompt, to be had from `entry`."""

    entry: Entry
    start: int
    end: int


def model_fingerprint(path: Path) -> str:
    """A digest of the file's size, first and last 4 MiB: cheap, and different for any two models in
    practice."""
    block = 4 << 20
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(str(size).encode())
        digest.update(file.read(block))
        file.seek(max(0, size - block))
        digest.update(file.read(block))
    return digest.hexdigest()


def cache_key(parts: Sequence[str | int | bool]) -> str:
    """One hash over everything that a saved state depends on."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()


class KvCache:
    """All entries for one key, within a folder whose total size is bounded over all keys. Safe to share."""

    def __init__(self, folder: Path, key: str, *, max_bytes: int = DEFAULT_BYTES) -> None:
        self._root = folder
        self._key = key
        self._folder = folder / key[:32]
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        for path in (folder, self._folder):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.chmod(0o700)
        self._entries: dict[str, Entry] = {}
        self._tree: RadixTree[str] = RadixTree()
        self._scan()

    def __len__(self) -> int:
        return len(self._entries)

    def best(self, tokens: list[int], *, whole: bool = False) -> tuple[Entry | None, int]:
        """The entry that shares most with the beginning of `tokens`, and how many tokens that is.

        `whole`: only entries all of whose tokens are shared.
        """
        with self._lock:
            name, shared = self._tree.longest(tokens)
            if whole:
                name, shared = max(self._tree.prefixes(tokens), key=lambda found: found[1], default=(None, 0))
            return (self._entries[name], shared) if name is not None else (None, 0)

    def chain(self, tokens: list[int], *, whole: bool = False) -> list[Segment]:
        """Segments that together hold the longest known beginning of `tokens`, in order from 0."""
        while True:
            entry, end = self.best(tokens, whole=whole)
            segments: list[Segment] = []
            at: Entry | None = entry
            while at is not None:
                segments.insert(0, Segment(entry=at, start=at.start, end=end))
                if at.start == 0:
                    return segments
                end = at.start
                at = self._before(at, tokens[:end])
            if entry is None:
                return []
            self.remove(entry)  # what it goes on from is gone

    def _before(self, entry: Entry, tokens: list[int]) -> Entry | None:
        """The entry that holds what comes right before `entry`, where it is still what it was."""
        parent = self._entries.get(entry.parent)
        if parent is None or parent.start >= entry.start or list(parent.tokens[: len(tokens)]) != tokens:
            return None
        return parent

    def load(self, entry: Entry) -> bytes | None:
        """The state of an entry; None (and the entry removed) when the file is damaged."""
        try:
            with entry.path.open("rb") as file:
                header = _read_header(file.read(len(_MAGIC)), file.readline(_MAX_HEADER))
                state = file.read()
            if header is not None and len(state) == header.size and _digest(state) == header.digest:
                os.utime(entry.path)
                return state
        except OSError:
            pass
        self.remove(entry)
        return None

    def save(self, tokens: list[int], state: bytes, *, start: int = 0, parent: Entry | None = None) -> None:
        """Keep the state of `tokens[start:]`; what was not used for longest goes when the folder gets too
        large. A full disk is no error."""
        if len(state) > self._max_bytes // 2:
            return
        packed = np.asarray(tokens, dtype="<i4").tobytes()
        name = cache_key([self._key, hashlib.sha256(packed).hexdigest()])[:32]
        before = parent.path.stem if parent is not None else ""
        header = _Header(
            key=self._key,
            tokens=packed.hex(),
            digest=_digest(state),
            size=len(state),
            start=start,
            parent=before,
        )
        path = self._folder / f"{name}.kv"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + msgspec.json.encode(header) + b"\n")
                file.write(state)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        self._note(Entry(path=path, tokens=tuple(tokens), start=start, parent=before))
        self._trim()

    def remove(self, entry: Entry) -> None:
        self._forget(entry.path.stem)
        with contextlib.suppress(OSError):
            entry.path.unlink()

    def _note(self, entry: Entry) -> None:
        with self._lock:
            self._entries[entry.path.stem] = entry
            self._tree.put(list(entry.tokens), entry.path.stem)

    def _forget(self, name: str) -> None:
        with self._lock:
            self._entries.pop(name, None)
            self._tree.remove(name)

    def _scan(self) -> None:
        for path in self._folder.iterdir():
            entry = _read_entry(path, self._key)
            if entry is not None:
                self._note(entry)
            elif path.suffix != ".tmp" or not _is_alive(path):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _trim(self) -> None:
        files: list[tuple[float, int, Path]] = []
        for path in self._root.glob("*/*.kv"):
            with contextlib.suppress(OSError):
                about = path.stat()
                files.append((about.st_mtime, about.st_size, path))
        files.sort()
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self._max_bytes:
                break
            self._forget(path.stem)
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size


def _is_alive(path: Path) -> bool:
    """Whether the process that is writing this temporary file still exists."""
    try:
        os.kill(int(path.stem.rpartition(".")[2]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _digest(state: bytes) -> str:
    return hashlib.blake2b(state, digest_size=16).hexdigest()


def _read_header(magic: bytes, line: bytes) -> _Header | None:
    if magic != _MAGIC:
        return None
    try:
        return msgspec.json.decode(line, type=_Header)
    except msgspec.DecodeError:
        return None


def _read_entry(path: Path, key: str) -> Entry | None:
    """What a file holds; None when it is not one of ours for this key."""
    try:
        with path.open("rb") as file:
            header = _read_header(file.read(len(_MAGIC)), file.readline(_MAX_HEADER))
        if header is None or header.key != key or path.is_symlink() or path.suffix != ".kv":
            return None
        tokens = np.frombuffer(bytes.fromhex(header.tokens), dtype="<i4").tolist()
        if not 0 <= header.start < len(tokens):
            return None
        return Entry(path=path, tokens=tuple(tokens), start=header.start, parent=header.parent)
    except (OSError, ValueError):
        return None
