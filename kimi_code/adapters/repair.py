"""Reads what models write in place of JSON, where it has one reading. Knows no tool and no server.

Mended: code fences, trailing commas, single quotes, bare keys, Python's True/False/None, raw line breaks
and tabs in strings, escapes JSON does not have (`\\d`), missing closing brackets, surplus ones, JSON inside
a JSON string. Not mended, since a guess could run something else than was meant: a string that never ends
(a command cut in half is another command), unescaped quotes inside a string, missing values.
"""

import math
import re
from typing import Any, cast

import msgspec

RAW = "__raw__"
"""The one key of arguments that could not be read; its value is the text as the model wrote it."""

_MAX_CHARS = 4 << 20
_MAX_DEPTH = 64
_FENCE = re.compile(r"\A```[a-zA-Z0-9_-]*[ \t]*\n(.*?)\n?```\Z", re.DOTALL)
_SPACE = re.compile(r"\s*")
_BARE = re.compile(r"[A-Za-z_$][\w$-]*")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_LOW_SURROGATE = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_PLAIN = {quote: re.compile(rf"[^\\{quote}]*") for quote in ('"', "'")}
_WORDS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}


class NotReadable(ValueError):
    """The text has no reading, or more than one. The message says where."""


def read_arguments(text: str, *, mend: bool = True) -> dict[str, Any]:
    """The arguments of a call; `{RAW: text}` when they cannot be read. No text is no arguments.

    mend False: only real JSON, for answers that were cut off and would be mended into something shorter.
    """
    if not text.strip():
        return {}
    try:
        return read_object(text, mend=mend)
    except NotReadable:
        return {RAW: text}


def read_object(text: str, *, mend: bool = True) -> dict[str, Any]:
    """Raises NotReadable."""
    value: Any
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        if not mend:
            raise NotReadable(str(error)) from error
        value = _Reader(text).read()
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return read_object(value, mend=False)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise NotReadable("the arguments are not a JSON object")
    return cast("dict[str, Any]", value)


def raw_problem(arguments: dict[str, Any]) -> str | None:
    """What to tell the model about arguments that could not be read; None when they could."""
    if len(arguments) != 1 or not isinstance(text := arguments.get(RAW), str):
        return None
    try:
        read_object(text)
    except NotReadable as error:
        return f"The arguments are not valid JSON: {error}. Nothing was done. Send the call again."
    return "The call was cut off before its arguments were complete. Nothing was done. Send a shorter call."


class _Reader:
    """One pass, no backtracking: linear in the text."""

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_CHARS:
            raise NotReadable("the arguments are too long")
        text = text.strip()
        fenced = _FENCE.match(text)
        self._text = fenced[1] if fenced else text
        self._at = 0

    def read(self) -> Any:
        value = self._value(0)
        rest = self._text[self._at :].strip()
        if rest.strip("}] \n\t;"):
            self._fail(f"unexpected {rest[:20]!r} after the end")
        return value

    def _fail(self, what: str) -> None:
        raise NotReadable(f"{what} (at character {self._at + 1})")

    def _peek(self) -> str:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def _value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            self._fail("nested too deeply")
        match self._peek():
            case "{":
                return self._object(depth)
            case "[":
                return self._array(depth)
            case '"' | "'" as quote:
                return self._string(quote)
            case _:
                return self._scalar()

    def _object(self, depth: int) -> dict[str, Any]:
        self._at += 1
        found: dict[str, Any] = {}
        while not self._closed("}"):
            key = self._key()
            if self._peek() != ":":
                self._fail("a ':' is missing")
            self._at += 1
            if key in found:
                self._fail(f"{key!r} is given twice")
            found[key] = self._value(depth + 1)
            self._separator("}")
        return found

    def _array(self, depth: int) -> list[Any]:
        self._at += 1
        found: list[Any] = []
        while not self._closed("]"):
            found.append(self._value(depth + 1))
            self._separator("]")
        return found

    def _closed(self, bracket: str) -> bool:
        """Whether the object or array ends here; the end of the text closes all that is open."""
        char = self._peek()
        if char == bracket:
            self._at += 1
            return True
        if not char and self._text.rstrip()[-1:] in ",[{":
            self._fail("it ends in the middle")
        # `[1, 2}` inside an object: the bracket was forgotten, the brace belongs to what is around it.
        return char == "" or char in "}]"

    def _separator(self, bracket: str) -> None:
        char = self._peek()
        if char == ",":
            self._at += 1
        elif char and char not in "}]":
            self._fail(f"a ',' or '{bracket}' is missing")

    def _key(self) -> str:
        char = self._peek()
        if char in ('"', "'"):
            return self._string(char)
        found = _BARE.match(self._text, self._at)
        if found is None:
            raise NotReadable(f"a key is missing (at character {self._at + 1})")
        self._at = found.end()
        return found[0]

    def _scalar(self) -> Any:
        word = _BARE.match(self._text, self._at)
        if word is not None and word[0] in _WORDS:
            self._at = word.end()
            return _WORDS[word[0]]
        number = _NUMBER.match(self._text, self._at)
        if number is None or len(number[0]) > 40:
            raise NotReadable(f"a value is missing (at character {self._at + 1})")
        self._at = number.end()
        if self._at == len(self._text):
            self._fail("it ends in a number that may go on")
        text = number[0]
        value = int(text) if text.lstrip("+-").isdigit() else float(text)
        if math.isinf(value):
            self._fail("a number is out of range")
        return value

    def _string(self, quote: str) -> str:
        self._at += 1
        pieces: list[str] = []
        while True:
            plain = _PLAIN[quote].match(self._text, self._at)
            if plain is not None:
                pieces.append(plain[0])
                self._at = plain.end()
            if self._at >= len(self._text):
                self._fail("a string is not closed")
            if self._text[self._at] == quote:
                self._at += 1
                return "".join(pieces)
            pieces.append(self._escape())

    def _escape(self) -> str:
        char = self._text[self._at + 1 : self._at + 2]
        if char == "u":
            digits = self._text[self._at + 2 : self._at + 6]
            try:
                code = int(digits, 16) if len(digits) == 4 and digits.isalnum() else -1
            except ValueError:
                code = -1
            if code >= 0:
                self._at += 6
                return self._surrogate(code)
        if not char:
            self._fail("a string is not closed")
        self._at += 2
        if char == "\n":
            return "\n"
        return _ESCAPES.get(char, "\\" + char)

    def _surrogate(self, code: int) -> str:
        """A pair of `\\uD83D\\uDE00`; one alone is no text and becomes the replacement character."""
        if 0xD800 <= code < 0xDC00:
            low = _LOW_SURROGATE.match(self._text, self._at)
            if low is not None:
                self._at = low.end()
                return chr(0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00)
        return "�" if 0xD800 <= code < 0xE000 else chr(code)
