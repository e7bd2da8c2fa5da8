"""Puts the chunks of one answer together into a Reply. Knows no connection and runs nothing.

Native calls count first. Where there are none, calls written as text are looked for, and a `<think>` block at
the head of the text becomes the thinking it is.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import msgspec

from kimi_code.adapters.repair import NotReadable, read_arguments, read_object
from kimi_code.adapters.textcalls import Tools, find_calls
from kimi_code.adapters.wire import CallPart, ChoicePart, MessagePart, UsagePart
from kimi_code.agent.ports import Delta, Reply, ToolSpec
from kimi_code.errors import Malformed
from kimi_code.events import Call, Usage

MAX_ANSWER = 32 << 20
_THINK, _THINK_END = "<think>", "</think>"
_TEXT_TYPES = ("string", None)


class _OpenCall:
    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class Offer:
    """What a request offers, by name, and the call ids that its conversation has used."""

    def __init__(self, specs: Sequence[ToolSpec], ids: Collection[str]) -> None:
        self.tools: Tools = {tool.name: _text_parameters(tool.parameters) for tool in specs}
        self.ids = frozenset(ids)


def _text_parameters(schema: dict[str, Any]) -> frozenset[str]:
    properties: dict[str, Any] = schema.get("properties") or {}
    return frozenset(name for name, each in properties.items() if each.get("type") in _TEXT_TYPES)


class Gathering:
    """One choice of one answer, as it comes."""

    def __init__(self) -> None:
        self.finish: str | None = None
        self.usage: UsagePart | None = None
        self.thinking_field = ""
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[_OpenCall] = []
        self._size = 0
        self._think = _ThinkSplitter()

    def add(self, choice: ChoicePart) -> Delta | None:
        """Take a part; what of it a person may see. Raises Malformed when the answer has no end."""
        part = choice.delta or choice.message
        delta = self._add_part(part) if part is not None else None
        if choice.usage is not None:
            self.usage = choice.usage
        if choice.finish_reason:
            self.finish = choice.finish_reason
        return delta

    def _add_part(self, part: MessagePart) -> Delta | None:
        for call in part.tool_calls or ():
            self._add_call(call)
        thinking = part.reasoning_content or part.reasoning or ""
        if thinking:
            self.thinking_field = "reasoning_content" if part.reasoning_content else "reasoning"
        text = part.content or part.refusal or ""
        if not text and not thinking:
            return None
        self._grow(len(text) + len(thinking))
        if text:
            split, text = self._think.feed(text)
            thinking += split
        return self._told(text, thinking)

    def _told(self, text: str, thinking: str) -> Delta | None:
        if text:
            self._text.append(text)
        if thinking:
            self._thinking.append(thinking)
        return Delta(text=text, thinking=thinking) if text or thinking else None

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_ANSWER:
            raise Malformed(
                f"The answer grew beyond {MAX_ANSWER >> 20} MB without an end.",
                hint="Set a token limit, or use another model or server.",
            )

    def _add_call(self, part: CallPart) -> None:
        call = self._open_call(part)
        function = part.function
        if part.id and not call.id:
            call.id = part.id
        if function is None:
            return
        if function.name and function.name != call.name and not call.arguments:
            call.name += function.name
        arguments = function.arguments
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        if arguments:
            self._grow(len(arguments))
            call.arguments.append(arguments)

    def _open_call(self, part: CallPart) -> _OpenCall:
        """The call a fragment belongs to. Some servers leave the index out, some give all calls the same."""
        if part.index is None:
            same = [c for c in self._calls if part.id and c.id == part.id]
            known = same or ([] if part.id else self._calls)
        else:
            known = [c for c in self._calls if c.index == part.index]
        names_another = part.function is not None and bool(part.function.name)
        if known and not (part.id and known[-1].id and part.id != known[-1].id and names_another):
            return known[-1]
        self._calls.append(_OpenCall(part.index))
        return self._calls[-1]

    @property
    def pending(self) -> bool:
        """Whether a call has begun."""
        return bool(self._calls)

    def has_whole_calls(self) -> bool:
        """Whether every call's arguments are JSON as they are, unmended."""
        try:
            for call in self._calls:
                read_object("".join(call.arguments) or "{}", mend=False)
        except NotReadable:
            return False
        return True

    def reply(self, offer: Offer, usage: Usage) -> Reply:
        """The answer, complete."""
        split, text = self._think.end()
        text = "".join(self._text) + text
        thinking = "".join(self._thinking) + split
        cut = self.finish == "length"
        calls = [
            (call.id, call.name.strip(), read_arguments("".join(call.arguments), mend=not cut))
            for call in self._calls
        ]
        if not calls and not cut:
            text, thinking, calls = _written(text, thinking, offer.tools)
        return Reply(
            text=text,
            thinking=thinking,
            calls=tuple(_identified(calls, offer)),
            usage=usage,
            finish=_finish(cut, bool(calls)),
        )


def _written(
    text: str, thinking: str, tools: Tools
) -> tuple[str, str, list[tuple[str, str, dict[str, Any]]]]:
    """Calls written as text; in the thinking only where nothing else was said (a `<think>` never closed)."""
    rest, found = find_calls(text, tools)
    if found:
        text = rest
    elif not text.strip() and thinking:
        rest, found = find_calls(thinking, tools)
        thinking = rest
    return text, thinking, [(call.id, call.name, call.arguments) for call in found]


def _identified(calls: Iterable[tuple[str, str, dict[str, Any]]], offer: Offer) -> Iterable[Call]:
    """Ids as given; one that is missing or was used before gets the next free of its kind."""
    used = set(offer.ids)
    count = len(used)
    for given, name, arguments in calls:
        stem = given.rpartition(":")[0] if given.startswith("functions.") else ""
        unique = given
        while not unique or unique in used:
            unique = f"{stem}:{count}" if stem else f"call_{count}"
            count += 1
        used.add(unique)
        yield Call(id=unique, name=name, arguments=arguments)


def _finish(cut: bool, calls: bool) -> Literal["stop", "calls", "length"]:
    if cut:
        return "length"
    return "calls" if calls else "stop"


class _ThinkSplitter:
    """Takes a `<think>...</think>` at the head of a text apart, fed piece by piece."""

    def __init__(self) -> None:
        self._held = ""
        self._state: Literal["head", "inside", "after", "text"] = "head"

    def feed(self, piece: str) -> tuple[str, str]:
        """(thinking, text) that are sure by now."""
        if self._state == "text":
            return "", piece
        self._held += piece
        if self._state == "head":
            head = self._held.lstrip()
            if _THINK.startswith(head[: len(_THINK)]) and len(head) < len(_THINK):
                return "", ""
            if not head.startswith(_THINK):
                self._state = "text"
                return "", self._take(len(self._held))
            self._state = "inside"
            self._held = head[len(_THINK) :]
        return self._inside()

    def _inside(self) -> tuple[str, str]:
        thinking = ""
        if self._state == "inside":
            end = self._held.find(_THINK_END)
            if end < 0:
                return self._take(len(self._held) - _overlap(self._held, _THINK_END)), ""
            thinking = self._take(end)
            self._held = self._held[len(_THINK_END) :]
            self._state = "after"
        self._held = self._held.lstrip("\n")
        if self._held:
            self._state = "text"
        return thinking, self._take(len(self._held))

    def _take(self, count: int) -> str:
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def end(self) -> tuple[str, str]:
        """What was still held back."""
        rest = self._take(len(self._held))
        return (rest, "") if self._state == "inside" else ("", rest)


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of `text` may be the beginning of `mark`."""
    for size in range(min(len(text), len(mark) - 1), 0, -1):
        if mark.startswith(text[-size:]):
            return size
    return 0
