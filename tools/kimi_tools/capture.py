"""The output of a command within bounds: head and tail in memory, the whole in a file. Knows no process."""

import codecs
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

HEAD_BYTES = TAIL_BYTES = 16_000
SPILL_BYTES = 20_000_000

LIVE_INTERVAL_S = 0.05
LIVE_BYTES = 4_000

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """`total` in bytes. Where it is more than head and tail hold, `spill` has the first 20 MB of it."""

    head: str
    tail: str = ""
    total: int = 0
    spill: Path | None = None

    @property
    def clipped(self) -> bool:
        return bool(self.tail)

    def text(self) -> str:
        """The output as it is shown to a model, with a note where bytes are missing."""
        if not self.clipped:
            return self.head
        missing = self.total - len(self.head.encode()) - len(self.tail.encode())
        where = f"; all of it: {self.spill}" if self.spill else ""
        if self.spill and self.total > SPILL_BYTES:
            where = f"; the first {SPILL_BYTES // 1_000_000} MB: {self.spill}"
        return f"{self.head}\n[... {missing:,} bytes left out of {self.total:,}{where} ...]\n{self.tail}"


class Capture:
    """Takes bytes as they come. `spill`.

    Where the whole goes once it is too long to keep, None for nowhere.
    """

    def __init__(
        self, spill: Path | None, *, head: int = HEAD_BYTES, tail: int = TAIL_BYTES, limit: int = SPILL_BYTES
    ) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._sizes = head, tail, limit
        self._path = spill
        self._file: BinaryIO | None = None
        self.total = 0
        self.spill_error = ""

    def add(self, data: bytes | memoryview) -> None:
        head, tail, limit = self._sizes
        if self.total <= head + tail < self.total + len(data):
            self._write(self._head + self._tail)
        if self._file is not None and (room := limit - self.total) > 0:
            self._write(data[:room])
        self.total += len(data)
        if (missing := head - len(self._head)) > 0:
            self._head += data[:missing]
            data = data[missing:]
        self._tail += data[-2 * tail :]
        if self.total > head + tail and len(self._tail) > 2 * tail:
            del self._tail[:-tail]

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        if self._path is None or self.spill_error:
            return
        try:
            if self._file is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = os.fdopen(os.open(self._path, _CREATE, 0o600), "wb")
            self._file.write(data)
        except OSError as failure:
            # A full disk must not end the command; the clipped output is still there.
            self.spill_error = str(failure)

    def close(self) -> Output:
        """What was captured. Call it once."""
        head, tail, _ = self._sizes
        spill = None
        if self._file is not None:
            try:
                self._file.close()
                spill = self._path
            except OSError as failure:
                self.spill_error = str(failure)
        if self.total <= head + tail:
            return Output(head=_text(self._head + self._tail), total=self.total)
        # A character cut in two would show as rubbish: begin and end at a line or at least at a character.
        shown_head = _until_line_end(bytes(self._head))
        shown_tail = _from_line_start(bytes(self._tail[-tail:]))
        return Output(head=_text(shown_head), tail=_text(shown_tail), total=self.total, spill=spill)


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", errors="replace")


def _until_line_end(data: bytes) -> bytes:
    end = data.rfind(b"\n", len(data) - 400)
    return data[:end] if end >= 0 else data.decode("utf-8", errors="ignore").encode()


def _from_line_start(data: bytes) -> bytes:
    start = data.find(b"\n", 0, 400)
    return data[start + 1 :] if start >= 0 else data.decode("utf-8", errors="ignore").encode()


class Live:
    """Hands output on as it comes, at most 20 times a second and 4 kB each time.

    A flood shows its end only.
    """

    def __init__(self, callback: Callable[[str], None]) -> None:
        self._callback = callback
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting = bytearray()
        self._last = 0.0

    def add(self, data: bytes | memoryview) -> None:
        """The next bytes. What is too early to be told waits for the next call or for `flush`."""
        self._waiting += data[-LIVE_BYTES:]
        if len(self._waiting) > LIVE_BYTES:
            del self._waiting[:-LIVE_BYTES]
        if time.monotonic() - self._last >= LIVE_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        text = self._decoder.decode(bytes(self._waiting))
        self._waiting.clear()
        if text:
            self._last = time.monotonic()
            self._callback(text)
