"""What every family's dialect is made of: parts of an answer, readers, and what a dialect must know. Knows
no family and no engine.

A Reader turns the text of one answer, as it arrives, into parts. Text is held back only while it may still
become a mark, so any split of the stream gives the same parts.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from kimi_runtime.dialects.rules import Openings, Rules
from kimi_runtime.dialects.texts import BEGIN, blank, decode, decode_first, first_of, held

Tools = Mapping[str, dict[str, Any]]
"""The offered functions: JSON Schemas of their arguments by name."""

Message = dict[str, Any]


class TextPart(msgspec.Struct, frozen=True, kw_only=True):
    text: str


class ThinkingPart(msgspec.Struct, frozen=True, kw_only=True):
    text: str


class CallPart(msgspec.Struct, frozen=True, kw_only=True):
    """`arguments` is the text of a JSON object; `id` where the family wants ids of its own."""

    name: str
    arguments: str
    id: str | None = None


Part = TextPart | ThinkingPart | CallPart


class Thought(msgspec.Struct, frozen=True, kw_only=True):
    """The marks around a thought. `ending` is what is written to end one whose budget is spent; `anywhere`:
    a thought may begin at any place, not just at the first of an answer."""

    opener: str
    closer: str
    ending: str
    anywhere: bool = False


THINK = Thought(opener="<think>", closer="</think>", ending="\n</think>\n\n")


class Reader(Protocol):
    def feed(self, text: str) -> list[Part]: ...

    def close(self) -> list[Part]:
        """What is left when the answer is over."""
        ...


class Dialect(Protocol):
    """How a model family writes. `calls_in_thought`: a call may begin inside an open thought, and ends it."""

    @property
    def name(self) -> str: ...

    @property
    def thought(self) -> Thought: ...

    @property
    def calls_in_thought(self) -> bool: ...

    def reader(self, tools: Tools, *, thinking: bool = False) -> Reader:
        """A reader for one answer; `thinking`: the prompt ended inside a thought."""
        ...

    def grammar(self, rules: Rules, tools: Tools, *, many: bool) -> Openings:
        """What may follow each text that opens a call; `many`: calls may follow each other."""
        ...

    def replay(self, messages: list[Message]) -> list[Message]:
        """A conversation as the family's templates want it. Messages are not changed, but replaced."""
        ...

    def call_id(self, name: str, index: int) -> str | None:
        """The id of the call number `index` of a conversation; None where any will do."""
        ...


class Plain:
    """What most families have in common: `<think>`, and templates that take any id."""

    thought = THINK
    calls_in_thought = False

    def replay(self, messages: list[Message]) -> list[Message]:
        return messages

    def call_id(self, name: str, index: int) -> str | None:
        del name, index
        return None


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The calls found in the first `end` characters; none: it is text after all."""

    end: int
    calls: Sequence[CallPart] = ()


class Scanner:
    """The buffer of a reader and its parts; subclasses say in `_advance` what to do with it."""

    def __init__(self) -> None:
        self._buffer = ""
        self._parts: list[Part] = []

    def feed(self, text: str) -> list[Part]:
        self._buffer += text
        while self._advance(final=False):
            pass
        return self._take()

    def close(self) -> list[Part]:
        while self._advance(final=True):
            pass
        self._left(self._buffer)
        self._buffer = ""
        return self._take()

    def _advance(self, *, final: bool) -> bool:
        """One transition; False when more text is needed."""
        raise NotImplementedError

    def _left(self, text: str) -> None:
        """What remains in the buffer at the end."""
        self._emit(text)

    def _emit(self, text: str, *, thinking: bool = False) -> None:
        if text:
            self._parts.append(ThinkingPart(text=text) if thinking else TextPart(text=text))

    def _take(self) -> list[Part]:
        parts, self._parts = self._parts, []
        return parts


class MarkedReader(Scanner):
    """A thought, then text with calls that begin with a mark.

    Subclasses name the `openers`, those that end an open thought, the texts (`wakes`) that may end a call,
    and say in `_parse` what a call is. `strips`: blank space around text is layout, not text.
    """

    openers: tuple[str, ...] = ()
    thought_openers: tuple[str, ...] = ()
    wakes: tuple[str, ...] = ("}", "]")
    strips = False

    def __init__(self, tools: Tools, thought: Thought, *, thinking: bool) -> None:
        super().__init__()
        self._tools = tools
        self._thought = thought
        self._marks = self.openers if tools else ()
        self._in_thought = (thought.closer, *(self.thought_openers if tools else ()))
        self._state = "thinking" if thinking else "start"
        self._fresh = True  # nothing of this thought or text was seen
        self._opener = ""
        self._after_call = False  # nothing but blank space came since
        self._seen = 0

    def _parse(self, opener: str, body: str, *, final: bool) -> Taken | None:
        """What follows `opener`; None when more text is needed, which must not be when `final`. What is
        decided must hold whatever comes after `body`."""
        raise NotImplementedError

    def _advance(self, *, final: bool) -> bool:
        match self._state:
            case "start":
                return self._start(final=final)
            case "thinking":
                return self._think()
            case "call":
                return self._call(final=final)
            case _:
                return self._text(final=final)

    def _left(self, text: str) -> None:
        if self._state == "thinking":
            self._emit(text.strip("\n") if self._fresh else text.rstrip("\n"), thinking=True)
        elif text.strip() or not (self.strips and self._after_call):
            self._emit(text)

    def _start(self, *, final: bool) -> bool:
        """At the very beginning: a thought, or text."""
        stripped = self._buffer.lstrip()
        opener = self._thought.opener
        if opener.startswith(stripped) and stripped != opener:
            if final:
                self._state = "text"
            return final
        if stripped.startswith(opener):
            self._buffer = stripped[len(opener) :]
            self._state = "thinking"
        else:
            self._state = "text"
        return True

    def _think(self) -> bool:
        if self._fresh:
            self._buffer = self._buffer.lstrip("\n")
        at, mark = first_of(self._buffer, self._in_thought)
        if mark:
            self._emit(self._buffer[:at].rstrip("\n"), thinking=True)
            rest = self._buffer[at:]
            self._buffer = rest.removeprefix(self._thought.closer)
            self._fresh = True
            self._state = "after"
            return True
        keep = held(self._buffer, self._in_thought)
        certain = self._buffer[: len(self._buffer) - keep]
        certain = certain.rstrip("\n")
        if certain:
            self._fresh = False
        self._emit(certain, thinking=True)
        self._buffer = self._buffer[len(certain) :]
        return False

    def _text(self, *, final: bool) -> bool:
        if self._state == "after":  # blank space between a thought and what follows is layout
            self._buffer = self._buffer.lstrip()
            if not self._buffer:
                return False
            self._state = "text"
        at, mark = first_of(self._buffer, self._marks)
        if mark:
            before = self._buffer[:at]
            self._emit(before.rstrip() if self.strips else before)
            self._buffer = self._buffer[at + len(mark) :]
            self._opener, self._state, self._seen = mark, "call", 0
            return True
        if final:
            return False
        keep = held(self._buffer, self._marks)
        if self.strips and self._marks:
            keep += blank(self._buffer[: len(self._buffer) - keep])
        self._emit(self._buffer[: len(self._buffer) - keep])
        self._buffer = self._buffer[len(self._buffer) - keep :]
        return False

    def _call(self, *, final: bool) -> bool:
        if not final and not self._woken():
            return False
        taken = self._parse(self._opener, self._buffer, final=final)
        if taken is None:
            return False
        if taken.calls:
            self._parts += taken.calls
            self._after_call = True
        elif self._buffer or not final:  # an answer cut right after the mark says nothing by it
            self._emit(self._opener + self._buffer[: taken.end])
        self._buffer = self._buffer[taken.end :]
        self._state = "text"
        return True

    def _emit(self, text: str, *, thinking: bool = False) -> None:
        if text.strip():
            self._after_call = False
        super()._emit(text, thinking=thinking)

    def _woken(self) -> bool:
        """Whether what is new may end the call: reading all of it again at every token is slow."""
        start = max(0, self._seen - max(map(len, self.wakes)))
        self._seen = len(self._buffer)
        return any(self._buffer.find(mark, start) >= 0 for mark in self.wakes)


# ---------------------------------------------------------------- calls


def call_of(name: str, arguments: str) -> CallPart | None:
    """A call with the text of a JSON object as arguments (or of a string that holds one); nothing means
    no arguments."""
    name = name.strip().removeprefix("functions.")
    try:
        value: Any = decode(arguments) if arguments.strip() else {}
        if isinstance(value, str):
            value = decode(value)
    except ValueError:
        return None
    return call_with(name, value)


def call_with(name: str, arguments: Any) -> CallPart | None:
    """A call with these arguments, if they are an object of what JSON can hold: no endless numbers."""
    if not name or not isinstance(arguments, dict):
        return None
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return CallPart(name=name, arguments=text.encode("utf-8", "replace").decode())


def parse_calls(body: str) -> list[CallPart]:
    """The calls of a JSON object, or of a list of such; empty when it is none. Text after it is ignored."""
    start = BEGIN.search(body)
    if start is None:
        return []
    try:
        value = decode_first(body, start.start())
    except ValueError:
        return []
    calls = [_as_call(item) for item in (value if isinstance(value, list) else [value])]  # pyright: ignore
    return [call for call in calls if call is not None] if None not in calls else []


def _as_call(value: Any) -> CallPart | None:
    if not isinstance(value, dict):
        return None
    fields: dict[str, Any] = value.get("function") if isinstance(value.get("function"), dict) else value  # pyright: ignore
    name = fields.get("name")
    arguments: Any = fields.get("arguments", fields.get("parameters"))
    if isinstance(arguments, str):
        try:
            arguments = decode(arguments)
        except ValueError:
            return None
    return call_with(name.removeprefix("functions."), arguments) if isinstance(name, str) else None
