"""One agent's append-only log on disk: JSON lines, one writer. Knows records and a file, not what they mean.

Whatever stands after the last complete, readable line at the end of the file is a torn tail: it is moved to
a file of its own before the first append, so that a new record never joins half of an old one. A damaged line
in the middle is kept where it is and left out of `records`.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from kimi_code.errors import StorageFailure, UsageError
from kimi_code.events import Fact, Signal
from kimi_code.session.codec import BadRecord, Record, decode, encode

Listener = Callable[[Record], None]


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What a log file holds. `length`: bytes up to the end of the last good line; `damaged`: line numbers."""

    records: list[Record]
    length: int
    size: int
    damaged: list[int]

    @property
    def torn_bytes(self) -> int:
        return self.size - self.length


def scan(data: bytes) -> Scan:
    """Read the bytes of a log; never fails."""
    records: list[Record] = []
    damaged: list[int] = []
    length = position = number = 0
    suspects: list[int] = []
    while (end := data.find(b"\n", position)) >= 0:
        number += 1
        try:
            records.append(decode(data[position:end]))
        except BadRecord:
            suspects.append(number)
        else:
            length = end + 1
            damaged += suspects
            suspects = []
        position = end + 1
    return Scan(records=records, length=length, size=len(data), damaged=damaged)


class SessionLog:
    """Write first, then tell. The file is locked while it is open."""

    def __init__(self, path: Path, descriptor: int, *, session: str, agent: str) -> None:
        self.path = path
        self.agent = agent
        self._fd = descriptor
        self._session = session
        self._records: list[Record] = []
        self._listeners: list[Listener] = []
        self._next_seq = 0
        self._size = 0

    @classmethod
    def create(cls, path: Path, *, session: str, agent: str = "main") -> "SessionLog":
        """A new, empty log. Raises StorageFailure."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _failure(path, error) from error
        os.fchmod(descriptor, 0o600)
        log = cls(path, descriptor, session=session, agent=agent)
        log._lock()
        return log

    @classmethod
    def open(cls, path: Path) -> "SessionLog":
        """An existing log, for appending. Raises UsageError where another process has it open."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _failure(path, error) from error
        log = cls(path, descriptor, session=path.parent.name, agent=path.stem)
        try:
            log._lock()
            log._load()
        except BaseException:
            os.close(descriptor)
            raise
        return log

    @property
    def records(self) -> Sequence[Record]:
        """All facts, oldest first."""
        return self._records

    def append(self, fact: Fact) -> Record:
        """Raises StorageFailure; then the file is as it was, and nobody was told."""
        record = Record(
            seq=self._next_seq, time=time.time(), session=self._session, agent=self.agent, event=fact
        )
        self._write(encode(record) + b"\n")
        self._next_seq += 1
        self._records.append(record)
        self._tell(record)
        return record

    def signal(self, event: Signal) -> Record:
        """Tell, without writing. It carries the seq of the last fact."""
        seq = max(0, self._next_seq - 1)
        record = Record(seq=seq, time=time.time(), session=self._session, agent=self.agent, event=event)
        self._tell(record)
        return record

    def sync(self) -> None:
        """Raises StorageFailure where the disk did not take it."""
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise _failure(self.path, error) from error

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Be told of each record after it was written; call what is returned to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def follow(self, from_seq: int = 0) -> AsyncIterator[Record]:
        """All facts from `from_seq` on, then each new one. A slow reader lags; it misses nothing."""
        changed = asyncio.Event()
        stop = self.listen(lambda _record: changed.set())
        position = next((i for i, r in enumerate(self._records) if r.seq >= from_seq), len(self._records))
        try:
            while True:
                while position < len(self._records):
                    position += 1
                    yield self._records[position - 1]
                changed.clear()
                await changed.wait()
        finally:
            stop()

    def close(self) -> None:
        """Give up the lock. Appending is an error from now on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _tell(self, record: Record) -> None:
        for listener in list(self._listeners):
            listener(record)

    def _write(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += os.pwrite(self._fd, line[written:], self._size + written)
        except OSError as error:
            if written:
                os.ftruncate(self._fd, self._size)
            raise _failure(self.path, error) from error
        self._size += len(line)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"Session {self._session} is open in another kimi-code.",
                hint=f"End that one, or branch off: kimi-code run --fork {self._session}",
            ) from error

    def _load(self) -> None:
        data = _read_all(self._fd)
        found = scan(data)
        if found.torn_bytes:
            self._quarantine(data[found.length :])
            os.ftruncate(self._fd, found.length)
        self._records = found.records
        self._next_seq = found.records[-1].seq + 1 if found.records else 0
        self._size = found.length

    def _quarantine(self, tail: bytes) -> None:
        for number in range(1, 1000):
            target = self.path.with_name(f"{self.path.name}.torn-{number}")
            try:
                descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            try:
                os.write(descriptor, tail)
            finally:
                os.close(descriptor)
            return


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    parts: list[bytes] = []
    offset = 0
    while offset < size and (part := os.pread(descriptor, min(size - offset, 1 << 26), offset)):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _failure(path: Path, error: OSError) -> StorageFailure:
    return StorageFailure(
        f"The session log {path} cannot be used: {error.strerror or error}.",
        hint="What was recorded is not lost. Make room or mend the permissions, then run with --continue.",
    )
