"""Looking for marks and for the ends of JSON in text that may not be complete. Knows no family."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any


def first_of(text: str, marks: Sequence[str], start: int = 0) -> tuple[int, str]:
    """Where the first of the marks is, and which; ("" and the end where there is none)."""
    found = [(at, -len(mark), mark) for mark in marks if (at := text.find(mark, start)) >= 0]
    if not found:
        return len(text), ""
    at, _, mark = min(found)
    return at, mark


def held(text: str, marks: Sequence[str]) -> int:
    """How many characters at the end may be the beginning of a mark."""
    return max(
        (n for mark in marks for n in range(1, len(mark)) if text.endswith(mark[:n])),
        default=0,
    )


def blank(text: str) -> int:
    """How much blank space is at the end."""
    return len(text) - len(text.rstrip())


BEGIN = re.compile(r"[{\[]")
_STRUCTURE = re.compile(r'["{}\[\]]|\\.', re.DOTALL)


def json_end(text: str, start: int, stop: int | None = None) -> tuple[int, bool]:
    """Where the object or list that begins at `start` ends (-1: not before `stop`), and whether the text
    up to there ends inside a string."""
    depth = 0
    in_string = False
    for match in _STRUCTURE.finditer(text, start, len(text) if stop is None else stop):
        mark = match[0]
        if mark == '"':
            in_string = not in_string
        elif in_string or len(mark) > 1:
            continue
        elif mark in "{[":
            depth += 1
        else:
            depth -= 1
            if depth <= 0:
                return match.end(), False
    return -1, in_string


def end_of_json(text: str, marks: Sequence[str], start: int = 0, *, final: bool) -> tuple[int, str]:
    """The first of the marks at or after `start`, and where it is; marks in strings of the JSON that stands
    before it are text. No mark: it is still to come."""
    first, mark = first_of(text, marks, start)
    begin = BEGIN.search(text, start)
    if begin is None or begin.start() > first:
        return first, mark
    end, _ = json_end(text, begin.start())
    if end >= 0:
        return first_of(text, marks, end)
    at, found = first, mark
    while found:
        if not json_end(text, begin.start(), at)[1]:
            return at, found  # the JSON is broken
        at, found = first_of(text, marks, at + len(found))
    return (first, mark) if final else (len(text), "")


def decode(text: str) -> Any:
    """A JSON value; raw line ends in strings are allowed. Raises ValueError."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def decode_first(text: str, start: int) -> Any:
    """The JSON value that begins at `start`, whatever comes after it. Raises ValueError."""
    try:
        return _DECODER.raw_decode(text, start)[0]
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(digits: str) -> float:
    """Numbers may be written that no machine holds; other readers of JSON refuse "Infinity"."""
    return min(sys.float_info.max, max(-sys.float_info.max, float(digits)))


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=_refuse)
