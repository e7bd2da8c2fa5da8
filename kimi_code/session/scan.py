"""Reads a log file from end to end, whatever state it is in. Knows lines and records, not what they mean."""

import os

import msgspec

from kimi_code.session.codec import BadRecord, Record, UnknownFact, decode

_BLOCK = 1 << 22  # bytes read at a time: the file is never in memory as a whole
_HEAD = b'{"type":"'  # how each of our lines begins
_LONGEST = 1 << 28  # bytes; a longer stretch without a line feed is no line of ours


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What a log file holds.

    length: bytes up to the end of the last whole line. What follows is a torn tail.
    damaged: the numbers of unreadable lines before that; they are not among the records.
    next_seq: that of the next record; damaged lines at the end count as one each.
    """

    records: list[Record]
    length: int
    size: int
    damaged: list[int]
    next_seq: int

    @property
    def torn_bytes(self) -> int:
        return self.size - self.length

    def problems(self) -> list[str]:
        """What is wrong with acknowledged records, as sentences; a torn tail is not among it."""
        found = [f"line {number} is damaged" for number in self.damaged]
        expected = 0
        for record in self.records:
            if isinstance(record.event, UnknownFact) and record.event.problem:
                found.append(f"record {record.seq} cannot be understood ({record.event.problem})")
            if record.seq > expected:
                found.append(f"{_span(expected, record.seq - 1)} missing")
            elif record.seq < expected:
                found.append(f"record {record.seq} stands after record {expected - 1}")
            expected = max(expected, record.seq + 1)
        return found


def scan_bytes(data: bytes) -> Scan:
    """Read the bytes of a log; never fails."""
    reader = _Reader()
    reader.feed(data)
    return reader.scan()


def scan_file(descriptor: int) -> Scan:
    """Read a log from the start to where it ends now. Raises OSError."""
    reader = _Reader()
    while block := os.pread(descriptor, _BLOCK, reader.size):
        reader.feed(block)
    return reader.scan()


class _Reader:
    """Takes blocks; an unreadable line is suspect until a whole one follows, then damaged."""

    def __init__(self) -> None:
        self.size = 0
        self._records: list[Record] = []
        self._length = 0
        self._lines = 0
        self._damaged: list[int] = []
        self._suspects: list[int] = []
        self._begun: list[bytes] = []
        self._held = 0
        self._next_seq = 0

    def feed(self, block: bytes) -> None:
        *ends, rest = block.split(b"\n")
        position = self.size
        self.size += len(block)
        for end in ends:
            position += len(end) + 1
            self._line(b"".join((*self._begun, end)) if self._begun else end, position)
            self._begun, self._held = [], 0
        if rest:
            self._hold(rest)

    def _hold(self, part: bytes) -> None:
        self._held += len(part)
        if self._held > _LONGEST:
            self._begun = [b"\0"]
        else:
            self._begun.append(part)

    def _line(self, line: bytes, end: int) -> None:
        self._lines += 1
        try:
            record = decode(line)
        except BadRecord:
            self._suspects.append(self._lines)
            if not (line.startswith(_HEAD) and line.endswith(b"}")):
                return
            # It was written to its end, so it was acknowledged: harmed since then, not torn.
            self._next_seq += 1
        else:
            self._records.append(record)
            self._next_seq = max(self._next_seq, record.seq + 1)
        self._length = end
        self._damaged += self._suspects
        self._suspects = []

    def scan(self) -> Scan:
        return Scan(
            records=self._records,
            length=self._length,
            size=self.size,
            damaged=self._damaged,
            next_seq=self._next_seq,
        )


def _span(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"
