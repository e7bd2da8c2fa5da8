"""One agent's append-only log on disk: JSON lines, one writer. Knows records and a file, not what they mean.

Whatever stands after the last line that was written whole is a torn tail: it is moved to a file of its own
when the log is opened, so that a new record never joins half of an old one. A line that was damaged later
stays where it is and is left out of `records`.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from kimi_code.errors import StorageFailure, UsageError
from kimi_code.events import Fact, Signal
from kimi_code.session import lock
from kimi_code.session.codec import UNENCODABLE, Record, decode, encode, plain_data
from kimi_code.session.scan import scan_file

Listener = Callable[[Record], None]

_BLOCK = 1 << 22  # bytes copied at a time
_BATCH = 256  # records written at a time


class SessionLog:
    """Write first, then tell. The file is locked while it is open."""

    def __init__(self, path: Path, descriptor: int, *, session: str, agent: str) -> None:
        self.path = path
        self.agent = agent
        self.session = session
        self._fd = descriptor
        self._records: list[Record] = []
        self._next_seq = 0
        self._size = 0
        self._on_disk = (0, 0)  # records and bytes that the last sync covered
        self._named = True  # whether the folders know the file for good
        self._doubtful = False  # a sync failed: the kernel may have dropped what it held
        self._listeners: list[Listener] = []
        self._untold: deque[Record] = deque()
        self._telling = False
        self._followers: set[asyncio.Event] = set()

    @classmethod
    def create(cls, path: Path, *, session: str, agent: str = "main") -> "SessionLog":
        """A new, empty log with mode 0600. Raises StorageFailure."""
        log = cls(path, _opened(path, os.O_CREAT | os.O_EXCL), session=session, agent=agent)
        log._named = False
        with log._closed_on_failure():
            os.fchmod(log._fd, 0o600)
            log._lock()
        return log

    @classmethod
    def open(cls, path: Path) -> "SessionLog":
        """An existing log, for appending. Raises UsageError where another process has it open."""
        log = cls(path, _opened(path), session=path.parent.name, agent=path.stem)
        with log._closed_on_failure():
            log._lock()
            log._load()
        return log

    @property
    def records(self) -> Sequence[Record]:
        """All facts, oldest first."""
        return self._records

    def append(self, fact: Fact) -> Record:
        """Write a fact, then tell. Raises StorageFailure; then the file is as it was, and nobody was told."""
        record = self._stamped(fact)
        try:
            line = encode(record)
        except UNENCODABLE:
            line = encode(self._stamped(plain_data(fact)))
            record = decode(line)
        self._write(line + b"\n")
        self._next_seq += 1
        self._records.append(record)
        self._tell(record)
        return record

    def copy(self, records: Sequence[Record]) -> None:
        """Append records of another log, with their times, under this one's name and own seqs.

        Raises StorageFailure; then some of them may be there.
        """
        for begin in range(0, len(records), _BATCH):
            copied = [
                Record(seq=seq, time=record.time, session=self.session, agent=self.agent, event=record.event)
                for seq, record in enumerate(records[begin : begin + _BATCH], self._next_seq)
            ]
            self._write(b"".join(encode(record) + b"\n" for record in copied))
            self._next_seq += len(copied)
            self._records += copied
            for record in copied:
                self._tell(record)

    def signal(self, event: Signal) -> Record:
        """Tell, without writing. It carries the seq of the last fact."""
        seq = max(0, self._next_seq - 1)
        record = Record(seq=seq, time=time.time(), session=self.session, agent=self.agent, event=event)
        self._tell(record)
        return record

    def sync(self) -> None:
        """Everything appended is on the disk when this returns. Raises StorageFailure where it is not.

        After a failure the kernel may take what it could not write for written: the next sync writes it anew.
        """
        try:
            if self._doubtful:
                self._write_anew()
            os.fdatasync(self._fd)
            if not self._named:
                _sync_folder(self.path.parent)
                _sync_folder(self.path.parent.parent)
        except OSError as error:
            self._doubtful = True
            raise _failure(self.path, error) from error
        self._named, self._doubtful = True, False
        self._on_disk = (len(self._records), self._size)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Be told of each record after it was written, in order; call what is returned to stop."""
        self._listeners.append(listener)

        def stop() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return stop

    async def follow(self, from_seq: int = 0) -> AsyncIterator[Record]:
        """All facts from `from_seq` on, then each new one, until the log is closed.

        A slow reader lags behind; it misses nothing. Signals are not followed, a later fact restates them.
        """
        news = asyncio.Event()
        self._followers.add(news)
        position = next((i for i, r in enumerate(self._records) if r.seq >= from_seq), len(self._records))
        try:
            while True:
                while position < len(self._records):
                    position += 1
                    if self._records[position - 1].seq >= from_seq:
                        yield self._records[position - 1]
                if self._fd < 0:
                    return
                news.clear()
                await news.wait()
        finally:
            self._followers.discard(news)

    def close(self) -> None:
        """Give up the lock. Appending fails from now on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        for news in self._followers:
            news.set()

    def _stamped(self, fact: Fact) -> Record:
        return Record(
            seq=self._next_seq, time=time.time(), session=self.session, agent=self.agent, event=fact
        )

    def _tell(self, record: Record) -> None:
        """Every listener hears of every record, in order, even where one appends more, or fails."""
        self._untold.append(record)
        for news in self._followers:
            news.set()
        if self._telling:
            return
        self._telling = True
        try:
            while self._untold:
                told = self._untold.popleft()
                # The stack runs all of them, the first one first, before an error of one is raised.
                with ExitStack() as listeners:
                    for listener in reversed(self._listeners):
                        listeners.callback(listener, told)
        finally:
            self._telling = False

    def _write(self, line: bytes) -> None:
        if self._fd < 0:
            raise StorageFailure(f"The session log {self.path} is closed.")
        written = 0
        try:
            while written < len(line):
                written += os.pwrite(self._fd, line[written:], self._size + written)
        except OSError as error:
            # What was written in part goes; where it cannot, the next write begins at the same place.
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise _failure(self.path, error) from error
        self._size += len(line)

    def _write_anew(self) -> None:
        count, position = self._on_disk
        data = b"".join(encode(record) + b"\n" for record in self._records[count:])
        while data:
            written = os.pwrite(self._fd, data, position)
            data, position = data[written:], position + written

    def _lock(self) -> None:
        if not lock.take(self._fd):
            pid = lock.holder(self.path)
            whose = "another kimi-code" if pid is None else f"another kimi-code (process {pid})"
            raise UsageError(
                f"Session {self.session} is open in {whose}.",
                hint=f"End that one, or branch off: kimi-code run --fork {self.session}",
            )
        if os.fstat(self._fd).st_nlink == 0:
            raise UsageError(f"Session {self.session} has just been removed.")

    def _load(self) -> None:
        found = scan_file(self._fd)
        if found.torn_bytes:
            self._quarantine(found.length, found.size)
            os.ftruncate(self._fd, found.length)
        self._records = found.records
        self._next_seq = found.next_seq
        self._size = found.length
        self._on_disk = (len(found.records), found.length)

    def _quarantine(self, begin: int, end: int) -> None:
        """Copy the torn tail to a file of its own, and to the disk, before it is cut off here."""
        number = 1
        while (target := self.path.with_name(f"{self.path.name}.torn-{number}")).exists():
            number += 1
        descriptor = _opened(target, os.O_CREAT | os.O_EXCL)
        try:
            while begin < end and (part := os.pread(self._fd, min(_BLOCK, end - begin), begin)):
                begin += os.write(descriptor, part)
            os.fdatasync(descriptor)
        except OSError:
            target.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    @contextmanager
    def _closed_on_failure(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            raise _failure(self.path, error) from error
        except BaseException:
            self.close()
            raise


def _opened(path: Path, flags: int = 0) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    except OSError as error:
        raise _failure(path, error) from error


def _sync_folder(path: Path) -> None:
    """A new file's name is only safe when its folder is on the disk, too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(path: Path, error: OSError) -> StorageFailure:
    return StorageFailure(
        f"The session log {path} cannot be used: {error.strerror or error}.",
        hint="What was recorded is not lost. Make room or mend the permissions, then run with --continue.",
    )
