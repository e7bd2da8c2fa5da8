"""The Write tool: a whole file, or a piece at its end. Knows nothing of matching."""

from collections.abc import Callable
from typing import Literal

import msgspec

from kimi_tools.base import Effect, Hands, Outcome, ToolFailure
from kimi_tools.diff import unified
from kimi_tools.files import Snapshot, read_whole, refuse_stale, replace
from kimi_tools.paths import Place, resolve
from kimi_tools.text import BOM, binary_kind, decode, line_end, plural, with_line_end


class WriteArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str
    content: str
    mode: Literal["overwrite", "append"] = "overwrite"


class Write:
    name = "Write"
    Arguments = WriteArguments

    def effect(self, hands: Hands, args: WriteArguments) -> Effect:
        place = resolve(hands, args.path, write=True)
        return Effect(kind="write", target=place.target, paths=(str(place.real),))

    async def run(self, hands: Hands, args: WriteArguments, output: Callable[[str], None]) -> Outcome:
        place = resolve(hands, args.path, write=True)
        old = read_whole(hands, place) if place.real.exists() else None
        text = args.content
        encode(text, "content")
        if old is None:
            return _write(hands, place, None, text, "")
        kind = binary_kind(old.data)
        if kind is not None:
            raise ToolFailure(f"{place.shown} is {kind}; Write replaces only text files.")
        # Appending loses nothing, so it needs no earlier look.
        if args.mode == "overwrite":
            refuse_stale(hands, place, old.stamp)
        return _write(hands, place, old, text, args.mode)


def encode(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as failure:
        raise ToolFailure(
            f"{field} holds half a character (a lone surrogate): send whole characters."
        ) from failure


def _write(hands: Hands, place: Place, old: Snapshot | None, text: str, mode: str) -> Outcome:
    before = old.data if old else b""
    was, _ = decode(before)
    note = ""
    if "\r\n" not in text and line_end(was) == "\r\n" and "\n" in text:
        text = with_line_end(text, "\r\n")
        note = " Line ends were kept as CRLF."
    data = text.encode()
    if mode == "append":
        data = before + data
    elif before.startswith(BOM) and not data.startswith(BOM):
        data = BOM + data
    if old is not None and data == before:
        return Outcome(
            content=f"{place.shown} has exactly this content already.", details={"path": place.shown}
        )
    replace(hands, place, data, old=old)
    now, _ = decode(data)
    lines = plural(text.count("\n") + (not text.endswith("\n") and bool(text)), "line")
    verb = "Created" if old is None else "Appended to" if mode == "append" else "Replaced"
    return changed(place, f"{verb} {place.shown} ({lines}).{note}", was, now)


def changed(place: Place, content: str, was: str, now: str) -> Outcome:
    """The outcome of a change, with its diff for people."""
    diff = unified(was, now, place.shown)
    return Outcome(
        content=content,
        details={"path": place.shown, "diff": diff.text, "added": diff.added, "removed": diff.removed},
        changed=(place.shown,),
    )
