"""The Edit tool: replaces a piece of a file, leaves every other byte as it was. Knows no matching rules."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from kimi_tools.base import Effect, Hands, Outcome, ToolFailure
from kimi_tools.files import read_whole, refuse_stale, replace
from kimi_tools.match import Found, Span, find
from kimi_tools.nearest import nearest
from kimi_tools.paths import Place, resolve
from kimi_tools.text import binary_kind, decode, plural, visible
from kimi_tools.write import changed, encode

_NUMBERED = re.compile(r"(?:\s*\d+\t.*(?:\n|$))+")
_LISTED = 20


class EditArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str
    old_string: str
    new_string: str
    replace_all: bool = False


class Edit:
    name = "Edit"
    Arguments = EditArguments

    def effect(self, hands: Hands, args: EditArguments) -> Effect:
        place = resolve(hands, args.path, write=True)
        return Effect(kind="write", target=place.target, paths=(str(place.real),))

    async def run(self, hands: Hands, args: EditArguments, output: Callable[[str], None]) -> Outcome:
        place = resolve(hands, args.path, write=True)
        if args.old_string == args.new_string:
            raise ToolFailure("old_string and new_string are the same: nothing would change.")
        if not args.old_string:
            raise ToolFailure("old_string is empty: give the text to replace, or make a new file with Write.")
        encode(args.new_string, "new_string")
        old = read_whole(hands, place)
        kind = binary_kind(old.data)
        if kind is not None:
            raise ToolFailure(f"{place.shown} is {kind}; Edit changes only text files.")
        refuse_stale(hands, place, old.stamp)
        text, exact = decode(old.data)
        if not exact:
            raise ToolFailure(
                f"{place.shown} is not UTF-8, so Edit could damage it. Change it with a program run by Bash."
            )
        found = find(text, args.old_string, args.new_string)
        spans = _chosen(place, text, args, found)
        becomes = _apply(text, spans)
        if becomes == text:
            raise ToolFailure(f"{place.shown} has this content already: nothing would change.")
        replace(hands, place, becomes.encode(), old=old)
        return changed(place, _content(place, spans, found), text, becomes)


def _chosen(place: Place, text: str, args: EditArguments, found: Found) -> Sequence[Span]:
    """The spans to replace; raises ToolFailure where they cannot be told."""
    spans = found.spans
    if not spans:
        raise ToolFailure(_not_found(place, text, args))
    if len(spans) == 1:
        return spans
    lines = ", ".join(str(span.line) for span in spans[:_LISTED]) + (", ..." if len(spans) > _LISTED else "")
    if found.note:
        raise ToolFailure(
            f"old_string does not stand in {place.shown} exactly, and {len(spans)} places are like it (lines "
            f"{lines}). Nothing was changed: copy the exact text of one, with more lines around it."
        )
    if not args.replace_all:
        raise ToolFailure(
            f"old_string stands {len(spans)} times in {place.shown} (lines {lines}). Nothing was changed: "
            "give more lines around it so that it fits one place, or set replace_all."
        )
    if any(one.stop > other.start for one, other in pairwise(spans)):
        raise ToolFailure(f"The places of old_string overlap (lines {lines}): give a longer piece.")
    return spans


def _apply(text: str, spans: Sequence[Span]) -> str:
    parts: list[str] = []
    position = 0
    for span in spans:
        parts += [text[position : span.start], span.new]
        position = span.stop
    return "".join([*parts, text[position:]])


def _content(place: Place, spans: Sequence[Span], found: Found) -> str:
    if len(spans) == 1:
        text = f"Edited {place.shown} at line {spans[0].line}."
    else:
        text = f"Edited {place.shown} at {plural(len(spans), 'place')}."
    return f"{text} Note: {found.note}; the one place that fits was changed." if found.note else text


def _not_found(place: Place, text: str, args: EditArguments) -> str:
    parts = [f"old_string does not stand in {place.shown}; nothing was changed."]
    if _NUMBERED.fullmatch(args.old_string):
        parts.append("Leave out the line numbers that Read shows.")
    elif len(args.new_string) > 10 and find(text, args.new_string, "").spans:
        parts.append("new_string stands there already: perhaps the change was made before.")
    region = nearest(text, args.old_string)
    if region is None:
        parts.append("Nothing in the file is like it: read the file again.")
        return " ".join(parts)
    last = region.first + len(region.lines) - 1
    parts.append(f"The nearest text, lines {region.first}-{last}:")
    lines = [f"{number}\t{visible(line)}" for number, line in enumerate(region.lines, region.first)]
    return "\n".join([" ".join(parts), *lines, _difference(region.lines, args.old_string)])


def _difference(there: Sequence[str], old: str) -> str:
    """The first line in which the two differ, so that a difference in white space can be seen."""
    given = old.replace("\r\n", "\n").strip("\n").split("\n")
    for line, asked in zip(there, given, strict=False):
        if line != asked:
            return f"First difference: the file has {line[:300]!r}, old_string has {asked[:300]!r}."
    return "The lines are the same, but old_string begins or ends differently (an empty line, a line end)."
