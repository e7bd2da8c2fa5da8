"""Remembers what the files of a workspace were: checkpoints, and what differs from one. Works without git.

Contents are kept once, by digest, in an SQLite file in a private folder. The newest checkpoint is also the
cache that makes the next one quick: a file whose size, times, inode and mode are the same is not read again.
"""

import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from kimi_tools import listing

FILE_BYTES = 5_000_000
TOTAL_BYTES = 500_000_000
_KEPT_CHECKPOINTS = 200
_BUSY_S = 30.0

# A file that changed this shortly before it was read may change again without its times showing it.
_RACY_NS = 50_000_000

_SCHEMA = """
create table if not exists blobs (digest blob primary key, data blob not null);
create table if not exists checkpoints (id text primary key, used real not null, files blob not null);
"""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`files`: how many it holds. `skipped`: those too large to be kept, told by their times alone."""

    id: str
    files: int
    skipped: tuple[str, ...] = ()


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """`digest` is empty where the contents were not kept."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int
    digest: bytes

    def is_still(self, found: os.stat_result) -> bool:
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode, self.mode) == (
            found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode,
        )  # fmt: skip


_Files = dict[str, _Entry]


class Unknown(Exception):
    """There is no such checkpoint."""


class Snapshots:
    """The checkpoints of one workspace. Methods block: call them in a thread."""

    def __init__(
        self, root: Path, state: Path, *, file_bytes: int = FILE_BYTES, total_bytes: int = TOTAL_BYTES
    ) -> None:
        mark = hashlib.blake2b(os.fsencode(root), digest_size=12).hexdigest()
        self._root = root
        self._path = state / "snapshots" / f"{mark}.sqlite"
        self._file_bytes = file_bytes
        self._total_bytes = total_bytes

    def checkpoint(self) -> Checkpoint:
        """Record every file as it is now. Raises OSError or sqlite3.Error when that cannot be written."""
        try:
            return self._checkpoint()
        except Unknown:
            # The file was damaged and has been removed.
            return self._checkpoint()

    def _checkpoint(self) -> Checkpoint:
        with self._open() as database:
            newest = database.execute("select files from checkpoints order by used desc limit 1").fetchone()
            known = msgspec.msgpack.decode(newest[0], type=_Files) if newest else {}
            files = dict(self._record(database, known))
            encoded = msgspec.msgpack.encode(files)
            name = hashlib.blake2b(encoded, digest_size=8).hexdigest()
            database.execute(
                "insert or replace into checkpoints values (?, ?, ?)", (name, time.time(), encoded)
            )
            _prune(database)
        skipped = tuple(path for path, entry in files.items() if not entry.digest)
        return Checkpoint(id=name, files=len(files), skipped=skipped)

    def changed(self, checkpoint: str) -> tuple[str, ...]:
        """Files that were changed, added or removed since, sorted."""
        with self._open() as database:
            before = self._load(database, checkpoint)
        now = listing.files(self._root)
        found = [path for path in now if path not in before or self._differs(path, before[path])]
        # A file that is there but not listed is ignored by now: still the same, or changed, but not gone.
        there = set(now)
        found += [path for path in before if path not in there and self._differs(path, before[path])]
        return tuple(sorted(found))

    def before(self, checkpoint: str, paths: tuple[str, ...]) -> dict[str, tuple[bytes, int] | None]:
        """Contents and mode of each path at the checkpoint, None where it was not there.

        Left out: what was there, but too large to be kept.
        """
        images: dict[str, tuple[bytes, int] | None] = {}
        with self._open() as database:
            files = self._load(database, checkpoint)
            for path in paths:
                entry = files.get(path)
                if entry is None:
                    images[path] = None
                elif entry.digest:
                    row = database.execute(
                        "select data from blobs where digest = ?", (entry.digest,)
                    ).fetchone()
                    if row:
                        images[path] = (row[0], stat.S_IMODE(entry.mode))
        return images

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        """One transaction. A damaged file is removed, since all it held is lost, and Unknown is raised."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._path.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as database:
                # A killed process loses nothing by this; a power cut may.
                database.execute("pragma page_size = 16384")
                database.execute("pragma journal_mode = truncate")
                database.execute("pragma synchronous = off")
                database.executescript(_SCHEMA)
                with database:
                    yield database
        except (sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except (sqlite3.DatabaseError, msgspec.DecodeError) as failure:
            self._path.unlink(missing_ok=True)
            raise Unknown(f"The record of this folder was damaged and is gone: {failure}.") from failure

    @staticmethod
    def _load(database: sqlite3.Connection, checkpoint: str) -> _Files:
        row = database.execute("select files from checkpoints where id = ?", (checkpoint,)).fetchone()
        if row is None:
            raise Unknown(f"There is no checkpoint {checkpoint!r} of this folder.")
        return msgspec.msgpack.decode(row[0], type=_Files)

    def _record(self, database: sqlite3.Connection, known: _Files) -> Iterator[tuple[str, _Entry]]:
        room = self._total_bytes
        for path in listing.files(self._root):
            found = self._stat(path)
            # A name that is not text cannot be told to anyone either.
            if found is None or not path.isprintable():
                continue
            entry = known.get(path)
            if entry is not None and entry.is_still(found):
                yield path, entry
                continue
            data = self._read(path) if found.st_size <= min(self._file_bytes, room) else None
            digest = b""
            if data is not None:
                room -= len(data)
                digest = _digest(data)
                database.execute("insert or ignore into blobs values (?, ?)", (digest, data))
            racy = time.time_ns() - found.st_ctime_ns < _RACY_NS
            yield (
                path,
                _Entry(
                    size=found.st_size,
                    mtime_ns=found.st_mtime_ns,
                    ctime_ns=0 if racy else found.st_ctime_ns,
                    inode=found.st_ino,
                    mode=found.st_mode,
                    digest=digest,
                ),
            )

    def _differs(self, path: str, entry: _Entry) -> bool:
        found = self._stat(path)
        if found is None or found.st_mode != entry.mode:
            return True
        if entry.is_still(found):
            return False
        if not entry.digest:
            return (found.st_size, found.st_mtime_ns) != (entry.size, entry.mtime_ns)
        if found.st_size != entry.size:
            return True
        data = self._read(path)
        return data is None or _digest(data) != entry.digest

    def _stat(self, path: str) -> os.stat_result | None:
        """None where there is no plain file by this name."""
        try:
            found = os.lstat(self._root / path)
        except OSError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def _read(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except OSError:
            return None


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _prune(database: sqlite3.Connection) -> None:
    """Forget the oldest half once there are too many, and contents that nobody names any more."""
    (count,) = database.execute("select count(*) from checkpoints").fetchone()
    if count <= _KEPT_CHECKPOINTS:
        return
    database.execute(
        "delete from checkpoints where id in (select id from checkpoints order by used limit ?)",
        (count - _KEPT_CHECKPOINTS // 2,),
    )
    used: set[bytes] = set()
    for (encoded,) in database.execute("select files from checkpoints"):
        used |= {entry.digest for entry in msgspec.msgpack.decode(encoded, type=_Files).values()}
    stale = [(d,) for (d,) in database.execute("select digest from blobs").fetchall() if d not in used]
    database.executemany("delete from blobs where digest = ?", stale)
