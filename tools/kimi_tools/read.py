"""The Read tool: a window of numbered lines. Memory and time are bounded, whatever the size of the file."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

import msgspec

from kimi_tools.base import Effect, Hands, Outcome, ToolFailure
from kimi_tools.files import MAX_WHOLE, stamp_of
from kimi_tools.paths import Place, open_file, resolve
from kimi_tools.text import BOM, MAX_LINE, binary_kind, decode, plural, size, visible

MAX_LINES = 1000
MAX_BYTES = 60_000

_BLOCK = 1 << 18
_LINE_BYTES = 4 * MAX_LINE
_LOOK_AHEAD = 8_000_000
_SECONDS = 10.0


class ReadArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str
    line_offset: int = 1
    n_lines: int = MAX_LINES


class Read:
    name = "Read"
    Arguments = ReadArguments

    def effect(self, hands: Hands, args: ReadArguments) -> Effect:
        place = resolve(hands, args.path)
        return Effect(kind="read", target=place.target, paths=(str(place.real),))

    async def run(self, hands: Hands, args: ReadArguments, output: Callable[[str], None]) -> Outcome:
        place = resolve(hands, args.path)
        descriptor, status = open_file(hands, place)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            try:
                if status.st_size > MAX_WHOLE:
                    return await asyncio.to_thread(_read_large, hands, place, file, args)
                data = file.read(MAX_WHOLE + 1)
                hands.seen[str(place.real)] = stamp_of(os.fstat(descriptor), data)
            except OSError as failure:
                raise ToolFailure(f"{place.shown} cannot be read: {failure.strerror}.") from failure
        return _read_whole(place, data, args)


def _read_whole(place: Place, data: bytes, args: ReadArguments) -> Outcome:
    _refuse_binary(place, data, len(data))
    if not data:
        return Outcome(content="[the file is empty]", details={"path": place.shown, "lines": 0})
    total = data.count(b"\n") + (not data.endswith(b"\n"))
    window = Window(first=_first(args, total))
    if window.first > total:
        raise ToolFailure(f"{place.shown} has only {plural(total, 'line')}; line_offset is past the end.")
    text = BytesIO(data)
    _skip(text, window.first - 1, None)
    _fill(window, text, _wanted(args))
    notes: list[str] = []
    if b"\r\n" in data:
        notes.append("lines end with CRLF")
    if data.startswith(BOM):
        notes.append("begins with a byte order mark")
    if not decode(data)[1]:
        notes.append("not UTF-8: � stands for other bytes, and Edit will not change this file")
    if window.ended and not data.endswith(b"\n"):
        notes.append("no newline at the end")
    return _outcome(place, window, f"{total:,}", notes)


def _read_large(hands: Hands, place: Place, file: BinaryIO, args: ReadArguments) -> Outcome:
    """One that is not held in memory; lines before the window are counted, not kept."""
    status = os.fstat(file.fileno())
    _refuse_binary(place, file.read(_BLOCK), status.st_size)
    hands.seen[str(place.real)] = stamp_of(status, None)
    deadline = time.monotonic() + _SECONDS
    total = None
    if args.line_offset < 0:
        file.seek(0)
        total = _count(file, deadline)
    window = Window(first=_first(args, total))
    file.seek(0)
    if total is not None and window.first > 1:
        _go_back(file, total - window.first + 1)
        skipped = window.first - 1
    else:
        skipped = _skip(file, window.first - 1, deadline)
    if skipped is None:
        raise ToolFailure(
            f"Line {window.first:,} of {place.shown} ({size(status.st_size)}) is too far away. "
            "Find the place with Grep, or use sed or tail with Bash."
        )
    _fill(window, file, _wanted(args))
    if not window.lines:
        raise ToolFailure(f"{place.shown} has only {plural(skipped, 'line')}; line_offset is past the end.")
    return _outcome(place, window, f"{total:,}" if total else f"a file of {size(status.st_size)}", [])


def _refuse_binary(place: Place, head: bytes, count: int) -> None:
    kind = binary_kind(head)
    if kind is not None:
        raise ToolFailure(f"{place.shown} is {kind} ({size(count)}), which Read does not show.")


def _first(args: ReadArguments, total: int | None) -> int:
    """The first line, counted from 1; a negative offset counts from the end."""
    if args.line_offset < 0 and total is not None:
        return max(1, total + 1 + args.line_offset)
    return max(1, args.line_offset)


def _wanted(args: ReadArguments) -> int:
    if args.n_lines < 1:
        raise ToolFailure("n_lines must be 1 or more.")
    return min(args.n_lines, MAX_LINES)


def _count(file: BinaryIO, deadline: float) -> int:
    count, last = 0, b"\n"
    while block := file.read(_BLOCK):
        count += block.count(b"\n")
        last = block[-1:]
        if time.monotonic() > deadline:
            raise ToolFailure("The file is too large to be counted from its end: use tail with Bash.")
    return count + (last != b"\n")


def _skip(file: BinaryIO, lines: int, deadline: float | None) -> int | None:
    """Go behind so many line ends; how many there were, None when time ran out."""
    done = 0
    last = b"\n"
    while done < lines:
        block = file.read(_BLOCK)
        if not block:
            return done + (last != b"\n")
        last = block[-1:]
        count = block.count(b"\n")
        if done + count >= lines:
            position = -1
            for _ in range(lines - done):
                position = block.index(b"\n", position + 1)
            file.seek(position + 1 - len(block), os.SEEK_CUR)
            return lines
        done += count
        if deadline is not None and time.monotonic() > deadline:
            return None
    return done


def _go_back(file: BinaryIO, lines: int) -> None:
    """Go to where the last so many lines begin; there are more than that."""
    size_now = file.seek(0, os.SEEK_END)
    end = size_now
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        block = file.read(end - start)
        # A line end that is the file's last byte begins no further line.
        found = len(block) - (end == size_now)
        while (found := block.rfind(b"\n", 0, found)) >= 0:
            lines -= 1
            if lines == 0:
                file.seek(start + found + 1)
                return
        end = start


@dataclass(slots=True)
class Window:
    """Lines from `first` on. ended: the last is the file's last. endless: the last goes on too far."""

    first: int
    lines: list[str] = field(default_factory=list[str])
    used: int = 0
    hidden: bool = False
    ended: bool = False
    endless: bool = False

    def add(self, raw: bytes, length: int) -> bool:
        """`raw` is the beginning of a line of `length` bytes. False: there is no room for it."""
        text, _ = decode(raw.removesuffix(b"\r"))
        if self.first == 1 and not self.lines:
            text = text.removeprefix("\ufeff")
        shown = visible(text)
        hidden = shown != text
        if len(shown) > MAX_LINE or length > len(raw):
            shown = f"{shown[:MAX_LINE]} [... line cut, it has {size(length)}]"
        line = f"{self.first + len(self.lines)}\t{shown}"
        needed = len(line) + 1 if line.isascii() else len(line.encode()) + 1
        if self.lines and self.used + needed > MAX_BYTES:
            return False
        self.hidden = self.hidden or hidden
        self.used += needed
        self.lines.append(line)
        return True


def _fill(window: Window, file: BinaryIO, wanted: int) -> None:
    """Read lines until there are enough, the room is used up, the file ends, or a line does not."""
    buffer, start = b"", 0
    while len(window.lines) < wanted:
        end = buffer.find(b"\n", start)
        if end >= 0:
            if not window.add(buffer[start : min(end, start + _LINE_BYTES)], end - start):
                return
            start = end + 1
            continue
        buffer, start = buffer[start:], 0
        if len(buffer) > _LINE_BYTES:
            begin, length, buffer, endless = _long_line(file, buffer)
            if not window.add(begin, length):
                return
            if endless:
                window.endless = True
                return
            continue
        block = file.read(_BLOCK)
        if not block:
            window.ended = not buffer or window.add(buffer, len(buffer))
            return
        buffer += block
    window.ended = start == len(buffer) and not file.read(1)


def _long_line(file: BinaryIO, buffer: bytes) -> tuple[bytes, int, bytes, bool]:
    """The beginning of a line that goes on, its length, what follows it; True where its end was not found."""
    begin, length = buffer[:_LINE_BYTES], len(buffer)
    while length <= _LOOK_AHEAD:
        block = file.read(_BLOCK)
        if not block:
            return begin, length, b"", False
        end = block.find(b"\n")
        if end >= 0:
            return begin, length + end, block[end + 1 :], False
        length += len(block)
    return begin, length, b"", True


def _outcome(place: Place, window: Window, total: str, notes: list[str]) -> Outcome:
    last = window.first + len(window.lines) - 1
    if window.hidden:
        notes.append("control and invisible characters are shown as escapes")
    if window.endless:
        notes.insert(0, f"line {last} does not end within {size(_LOOK_AHEAD)}; the rest is not shown")
    elif not window.ended:
        notes.insert(0, f"lines {window.first}-{last} of {total}; go on with line_offset={last + 1}")
    if notes:
        window.lines.append(f"[{'; '.join(notes)}]")
    details = {"path": place.shown, "first": window.first, "lines": last - window.first + 1}
    return Outcome(content="\n".join(window.lines), details=details)
