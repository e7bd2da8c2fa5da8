"""The primitive values of a GGUF header, read from an untrusted file within bounds. Knows no key."""

import struct
from typing import BinaryIO

import msgspec

from kimi_runtime.failures import BadModel

MAX_HEADER = 128 << 20
MAX_ITEMS = 2_000_000
MAX_TEXT = 16 << 20
KEPT_TEXT = 1 << 20
KEPT_ITEMS = 1024

_WINDOW = 1 << 20
_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<B"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32, _U64 = _SCALARS[4], _SCALARS[10]


class Array(msgspec.Struct, frozen=True):
    """`count` values; `items` only where they are numbers and few (at most KEPT_ITEMS)."""

    count: int
    items: tuple[int | float, ...] = ()


Scalar = int | float | bool | str
Value = Scalar | Array


class Bytes:
    """A forward reader over a file of `size` bytes; `at` is the position. Everything raises BadModel."""

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self._file, self.size, self._name = file, size, name
        self._limit = min(size, MAX_HEADER)
        self._window, self._base = b"", 0
        self.at = 0

    def bad(self, why: str) -> BadModel:
        return BadModel(
            f"{self._name} is not a usable GGUF file: {why}.",
            hint="It may be damaged or incomplete. Pull it again, or take the file from another place.",
        )

    def take(self, count: int) -> bytes:
        begin = self._need(count) - self._base
        self.at += count
        return self._window[begin : begin + count]

    def u32(self) -> int:
        return _U32.unpack(self.take(4))[0]

    def u64(self) -> int:
        return _U64.unpack(self.take(8))[0]

    def text(self, what: str, cap: int, keep: int) -> str:
        """A string of at most `cap` bytes, cut to `keep`; bytes that are no UTF-8 are replaced."""
        length = self.u64()
        if length > cap:
            raise self.bad(f"{what} is {length} bytes long, at most {cap} are accepted")
        self._room(length)
        end = self.at + length
        text = self.take(min(length, keep)).decode("utf-8", errors="replace")
        self.at = end
        return text

    def value(self, what: str) -> Value:
        """A value with its type before it."""
        kind = self.u32()
        if kind == _ARRAY:
            return self._array(what)
        if kind == _STRING:
            return self.text(what, MAX_TEXT, KEPT_TEXT)
        return self._scalar(kind, what)

    def _scalar(self, kind: int, what: str) -> int | float | bool:
        layout = _SCALARS.get(kind)
        if layout is None:
            raise self.bad(f"{what} has the unknown type {kind}")
        number = layout.unpack(self.take(layout.size))[0]
        return bool(number) if kind == _BOOL else number

    def _array(self, what: str) -> Array:
        kind, count = self.u32(), self.u64()
        if kind == _ARRAY:
            raise self.bad(f"{what} is an array of arrays")
        if count > MAX_ITEMS:
            raise self.bad(f"{what} claims {count} elements, at most {MAX_ITEMS} are accepted")
        if kind == _STRING:
            self._room(count * 8)
            self._skip_texts(count, what)
            return Array(count)
        layout = _SCALARS.get(kind)
        if layout is None:
            raise self.bad(f"{what} has elements of the unknown type {kind}")
        self._room(count * layout.size)
        if count > KEPT_ITEMS:
            self.at += count * layout.size
            return Array(count)
        raw = self.take(count * layout.size)
        return Array(count, tuple(each[0] for each in layout.iter_unpack(raw)))

    def _skip_texts(self, count: int, what: str) -> None:
        """Step over strings without making them: a vocabulary has 10^5 of them."""
        unpack, at = _U64.unpack_from, self.at
        window, base, limit = self._window, self._base, self._limit
        last = base + len(window) - 8
        for _ in range(count):
            if not base <= at <= last:
                self.at = at
                self._need(8)
                window, base = self._window, self._base
                last = base + len(window) - 8
            at += 8 + unpack(window, at - base)[0]
            if at > limit:
                raise self.bad(f"the strings of {what} go beyond the end of the file")
        self.at = at

    def _room(self, count: int) -> None:
        if self.at + count <= self._limit:
            return
        if self._limit < self.size:
            raise self.bad(f"its header is longer than {MAX_HEADER >> 20} MB")
        raise self.bad(f"it ends after {self.size} bytes, in the middle of its header")

    def _need(self, count: int) -> int:
        """Make the next `count` bytes available; returns the position."""
        self._room(count)
        if not self._base <= self.at or self.at + count > self._base + len(self._window):
            self._file.seek(self.at)
            self._window, self._base = (
                self._file.read(max(count, min(_WINDOW, self._limit - self.at))),
                self.at,
            )
            if len(self._window) < count:
                raise self.bad("it became shorter while it was read")
        return self.at
