"""How a model family writes text, thinking and calls. Knows tokens only as text; one Dialect per family.

A Reader turns the text of one answer, as it arrives, into parts. Small models deviate: a fenced or bare
JSON object in place of a tagged one, a missing end tag. What names a known tool is a call; anything else
stays text, unchanged.
"""

import json
import re
from collections.abc import Collection
from typing import Any, Protocol

import msgspec


class TextPart(msgspec.Struct, frozen=True, kw_only=True):
    text: str


class ThinkingPart(msgspec.Struct, frozen=True, kw_only=True):
    text: str


class CallPart(msgspec.Struct, frozen=True, kw_only=True):
    """`arguments` is the text of a JSON object."""

    name: str
    arguments: str


Part = TextPart | ThinkingPart | CallPart


class Reader(Protocol):
    def feed(self, text: str) -> list[Part]: ...

    def close(self) -> list[Part]:
        """What is left when the answer is over."""
        ...


class Dialect(Protocol):
    """`opener` and `closer` surround a call, with `before` and `after` between them and its JSON."""

    name: str
    opener: str
    closer: str
    before: str
    after: str

    def reader(self, tools: Collection[str], *, thinking: bool = False) -> Reader:
        """A reader for one answer; `thinking`: the prompt ended inside a thought."""
        ...

    def call_frame(self, tool: str) -> tuple[str, str]:
        """The text of a call before and after its arguments."""
        ...


class Hermes:
    """`<tool_call>` with a JSON object of name and arguments; `<think>`. Qwen, Hermes and many more."""

    name = "hermes"
    opener = "<tool_call>"
    closer = "</tool_call>"
    before = "\n"
    after = "\n"

    def reader(self, tools: Collection[str], *, thinking: bool = False) -> Reader:
        return HermesReader(frozenset(tools), self, thinking=thinking)

    def call_frame(self, tool: str) -> tuple[str, str]:
        return f'{{"name": {json.dumps(tool)}, "arguments": ', "}"


HERMES = Hermes()


def detect(template: str, structural: Collection[str]) -> Dialect:
    """The dialect of a model, told from its chat template and its special tokens."""
    del template, structural  # one family so far; its reader also understands plain JSON calls
    return HERMES


# ---------------------------------------------------------------- Hermes

_THINK, _END_THINK = "<think>", "</think>"
_FENCE = "```"
_FENCE_HEAD = re.compile(r"```[ \t]*(\w*)[ \t]*\r?\n\s*(\S)")
_FENCE_END = re.compile(r"[}\]]\s*```")
_CALL_LANGUAGES = ("", "json", "tool_call", "xml")
_BARE_PATIENCE = 60


class HermesReader:
    """Splits an answer at tags, fences and bare objects; holds back only what may still become one of
    these."""

    def __init__(self, tools: frozenset[str], dialect: Hermes, *, thinking: bool) -> None:
        self._tools = tools
        self._opener, self._closer = dialect.opener, dialect.closer
        self._buffer = ""
        self._state = "thinking" if thinking else "start"
        self._in_fence = False
        self._called = False
        self._thought = False
        self._parts: list[Part] = []

    def feed(self, text: str) -> list[Part]:
        self._buffer += text
        while self._advance(final=False):
            pass
        return self._take()

    def close(self) -> list[Part]:
        while self._advance(final=True):
            pass
        if self._buffer:
            self._emit(self._buffer, thinking=self._state == "thinking")
            self._buffer = ""
        return self._take()

    def _advance(self, *, final: bool) -> bool:
        """One transition; False when more text is needed."""
        match self._state:
            case "start":
                return self._start(final=final)
            case "thinking":
                return self._think()
            case "call":
                return self._call(final=final)
            case "fence":
                return self._fence(final=final)
            case "bare":
                return self._bare(final=final)
            case _:
                return self._text(final=final)

    def _start(self, *, final: bool) -> bool:
        """At the very beginning: a thought, a bare object or text. Blank space before the former is
        dropped."""
        stripped = self._buffer.lstrip()
        if self._thought:
            self._buffer = stripped
        if not stripped or (_THINK.startswith(stripped) and stripped != _THINK):
            if final:
                self._state = "text"
            return final
        if stripped.startswith(_THINK):
            self._buffer = stripped[len(_THINK) :]
            self._state = "thinking"
        elif self._tools and stripped[0] in "{[":
            self._state = "bare"
        else:
            self._state = "text"
        return True

    def _think(self) -> bool:
        before, found, after = self._buffer.partition(_END_THINK)
        if found:
            self._emit(before, thinking=True)
            self._buffer = after
            self._state = "start"
            self._thought = True
            return True
        keep = _held(self._buffer, (_END_THINK,))
        self._emit(self._buffer[: len(self._buffer) - keep], thinking=True)
        self._buffer = self._buffer[len(self._buffer) - keep :]
        return False

    def _text(self, *, final: bool) -> bool:
        if not self._tools:
            self._emit(self._buffer)
            self._buffer = ""
            return False
        marks = (self._opener, _FENCE)
        found = [(at, mark) for mark in marks if (at := self._buffer.find(mark)) >= 0]
        if not found:
            if final and self._called and not self._buffer.strip():
                self._buffer = ""  # blank space after the last call
            keep = 0 if final else _held(self._buffer, marks)
            if not final:
                keep += _blank(self._buffer[: len(self._buffer) - keep])
            self._emit(self._buffer[: len(self._buffer) - keep])
            self._buffer = self._buffer[len(self._buffer) - keep :]
            return False
        at, mark = min(found)
        if mark == self._opener:
            self._emit(self._buffer[:at].rstrip())
            self._buffer = self._buffer[at + len(mark) :]
            self._state = "call"
            return True
        return self._at_fence(at, final=final)

    def _at_fence(self, at: int, *, final: bool) -> bool:
        """A fence opens or closes at `at`; only one that holds a JSON object is looked into."""
        if self._in_fence:
            self._in_fence = False
            self._emit(self._buffer[: at + len(_FENCE)])
            self._buffer = self._buffer[at + len(_FENCE) :]
            return True
        head = _FENCE_HEAD.match(self._buffer, at)
        undecided = head is None and not final and re.fullmatch(r"```[ \t]*\w*\s*", self._buffer[at:])
        if undecided:
            before = self._buffer[:at]
            keep = _blank(before)
            self._emit(before[: len(before) - keep])
            self._buffer = self._buffer[len(before) - keep :]
            return False
        if head is not None and head[1].lower() in _CALL_LANGUAGES and head[2] in "{[":
            keep = _blank(self._buffer[:at])  # given back if the fence holds no call
            self._emit(self._buffer[: at - keep])
            self._buffer = self._buffer[at - keep :]
            self._state = "fence"
            return True
        self._in_fence = True
        self._emit(self._buffer[: at + len(_FENCE)])
        self._buffer = self._buffer[at + len(_FENCE) :]
        return True

    def _call(self, *, final: bool) -> bool:
        ends = [at for mark in (self._closer, self._opener) if (at := self._buffer.find(mark)) >= 0]
        if not ends and not final:
            return False
        end = min(ends, default=len(self._buffer))
        body, rest = self._buffer[:end], self._buffer[end:]
        if not self._add_calls(body, known_only=False):
            self._emit(self._opener + body + (self._closer if rest.startswith(self._closer) else ""))
        self._buffer = rest.removeprefix(self._closer)
        self._state = "text"
        return True

    def _fence(self, *, final: bool) -> bool:
        end = _FENCE_END.search(self._buffer)
        if end is None and not final:
            return False
        stop = end.end() if end is not None else len(self._buffer)
        body = self._buffer[:stop].lstrip().split("\n", 1)[-1]
        if not self._add_calls(body, known_only=True):
            self._emit(self._buffer[:stop])
        self._buffer = self._buffer[stop:]
        self._state = "text"
        return True

    def _bare(self, *, final: bool) -> bool:
        """The answer begins with an object: a call if it names a tool once it is complete, text otherwise."""
        complete = self._buffer.rstrip().endswith(("}", "]"))
        if complete and self._add_calls(self._buffer, known_only=True):
            self._buffer = ""
            self._state = "text"
            return True
        unlikely = len(self._buffer) > _BARE_PATIENCE and '"name"' not in self._buffer
        if final or unlikely or self._opener in self._buffer:
            self._state = "text"
            return True
        return False

    def _add_calls(self, body: str, *, known_only: bool) -> bool:
        calls = parse_calls(body)
        if not calls or (known_only and any(call.name not in self._tools for call in calls)):
            return False
        self._parts += calls
        self._called = True
        return True

    def _emit(self, text: str, *, thinking: bool = False) -> None:
        if text:
            self._parts.append(ThinkingPart(text=text) if thinking else TextPart(text=text))

    def _take(self) -> list[Part]:
        parts, self._parts = self._parts, []
        return parts


def parse_calls(body: str) -> list[CallPart]:
    """The calls of a JSON object, or of a list of such; empty when it is none. Text after it is ignored."""
    start = re.search(r"[{\[]", body)
    if start is None:
        return []
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(body, start.start())
    except (ValueError, RecursionError):
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
            arguments = json.loads(arguments)
        except ValueError:
            return None
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        return None
    return CallPart(name=name.removeprefix("functions."), arguments=json.dumps(arguments, ensure_ascii=False))


def _held(text: str, marks: tuple[str, ...]) -> int:
    """How many characters at the end may be the beginning of a mark."""
    return max(
        (n for mark in marks for n in range(1, len(mark)) if text.endswith(mark[:n])),
        default=0,
    )


def _blank(text: str) -> int:
    return len(text) - len(text.rstrip())
