"""Finds the text that an edit means, exactly or with harmless differences. Pure; knows no file.

Three steps, each only where the one before found nothing: exact text; the same with other line ends; whole
lines that differ in trailing white space, or in indentation by one rule for all. The caller takes what is not
exact only where one place fits.
"""

import re
from collections.abc import Callable, Iterator

import msgspec

from kimi_tools.text import line_end, with_line_end

_MAX_FOUND = 1000
_INDENT = re.compile(r"[ \t]*")


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """text[start:stop] is to become `new`; `line` counts from 1."""

    start: int
    stop: int
    new: str
    line: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Where an edit would happen; `note` says what was overlooked, empty for an exact match."""

    spans: tuple[Span, ...] = ()
    note: str = ""


def find(text: str, old: str, new: str) -> Found:
    """All places where `old` stands in `text`, overlapping ones too, and what each would become."""
    crlf = line_end(text) == "\r\n"
    if crlf:
        new = with_line_end(new, "\r\n")
    spans = list(_exact(text, old, new))
    if spans:
        return Found(spans=tuple(spans))
    if "\r" in old or "\r" in text:
        spans = list(_any_line_end(text, old, new))
        if spans:
            return Found(spans=tuple(spans), note="" if crlf else "line ends differed from old_string")
    return _loose(text, old, new)


def _exact(text: str, old: str, new: str) -> Iterator[Span]:
    start, line, counted = text.find(old), 1, 0
    for _ in range(_MAX_FOUND):
        if start < 0:
            return
        line += text.count("\n", counted, start)
        counted = start
        yield Span(start=start, stop=start + len(old), new=new, line=line)
        start = text.find(old, start + 1)


def _any_line_end(text: str, old: str, new: str) -> Iterator[Span]:
    """Each line end of `old` fits both kinds; what replaces it gets the kind that stands there."""
    pieces = [re.escape(piece) for piece in with_line_end(old, "\n").split("\n")]
    pattern = re.compile("(?=(" + "\r?\n".join(pieces) + "))")
    for match, _ in zip(pattern.finditer(text), range(_MAX_FOUND), strict=False):
        end = line_end(match[1] if "\n" in match[1] else text)
        start = match.start()
        # A lone "\n" at the beginning must not tear a "\r\n" apart.
        if start > 0 and text[start] == "\n" and text[start - 1] == "\r":
            start -= 1
        yield Span(
            start=start, stop=match.end(1), new=with_line_end(new, end), line=text.count("\n", 0, start) + 1
        )


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """text[start:stop] without its line end; `next` is where the following line begins."""

    start: int
    stop: int
    next: int
    indent: str
    rest: str


def _lines(text: str) -> list[_Line]:
    lines: list[_Line] = []
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        following = len(text) if end < 0 else end + 1
        stop = len(text) if end < 0 else end - (end > start and text[end - 1] == "\r")
        raw = text[start:stop]
        indent = _INDENT.match(raw)
        width = indent.end() if indent else 0
        lines.append(
            _Line(start=start, stop=stop, next=following, indent=raw[:width], rest=raw[width:].rstrip())
        )
        start = following
    return lines


def _loose(text: str, old: str, new: str) -> Found:
    wanted, lines = _lines(old), _lines(text)
    if not any(line.rest for line in wanted) or len(wanted) > len(lines):
        return Found()
    rests = [line.rest for line in lines]
    asked = [line.rest for line in wanted]
    anchor = max(range(len(asked)), key=lambda index: len(asked[index]))
    spans: list[Span] = []
    notes: set[str] = set()
    for place, rest in enumerate(rests):
        first = place - anchor
        if rest != asked[anchor] or first < 0 or rests[first : first + len(asked)] != asked:
            continue
        there = lines[first : first + len(asked)]
        shift = _shift(wanted, there)
        if shift is None:
            continue
        becomes = _moved(new, shift)
        if becomes is None:
            continue
        notes.add("indentation" if any(map(_indented, wanted, there)) else "trailing white space")
        spans.append(_whole_lines(text, there, first + 1, old, becomes))
    note = f"{' and '.join(sorted(notes))} differed from old_string" if notes else ""
    return Found(spans=tuple(spans), note=note)


def _indented(one: _Line, other: _Line) -> bool:
    return bool(one.rest) and one.indent != other.indent


def _whole_lines(text: str, there: list[_Line], line: int, old: str, new: str) -> Span:
    with_end = old.endswith("\n")
    region = text[there[0].start : there[-1].next]
    end = line_end(region if "\n" in region else text)
    if with_end and not region.endswith("\n"):
        new = new.removesuffix("\n").removesuffix("\r")
    return Span(
        start=there[0].start,
        stop=there[-1].next if with_end else there[-1].stop,
        new=with_line_end(new, end),
        line=line,
    )


def _shift(wanted: list[_Line], there: list[_Line]) -> Callable[[str], str | None] | None:
    """The one rule that turns each indentation asked for into the one that stands there, or None."""
    pairs = [(one.indent, other.indent) for one, other in zip(wanted, there, strict=True) if one.rest]
    given, found = min(pairs, key=lambda pair: len(pair[0]))
    rules: list[Callable[[str], str | None]] = []
    if found.endswith(given):
        more = found[: len(found) - len(given)]
        rules.append(lambda indent: more + indent)
    if given.endswith(found):
        less = given[: len(given) - len(found)]
        rules.append(lambda indent: indent[len(less) :] if indent.startswith(less) else None)
    for width in (2, 4, 8):
        rules.append(lambda indent, width=width: _tabs(indent, width))
        rules.append(lambda indent, width=width: indent.replace("\t", " " * width))
    for rule in rules:
        if all(rule(one) == other for one, other in pairs):
            return rule
    return None


def _tabs(indent: str, width: int) -> str | None:
    return "\t" * (len(indent) // width) if set(indent) <= {" "} and len(indent) % width == 0 else None


def _moved(new: str, shift: Callable[[str], str | None]) -> str | None:
    """`new` with each line's indentation by the rule; None where a line cannot follow it."""
    moved: list[str] = []
    for line in new.split("\n"):
        rest = line.lstrip(" \t")
        if not rest.strip():
            moved.append(rest)
            continue
        indent = shift(line[: len(line) - len(rest)])
        if indent is None:
            return None
        moved.append(indent + rest)
    return "\n".join(moved)
