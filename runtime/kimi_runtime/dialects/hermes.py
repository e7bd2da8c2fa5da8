"""Qwen, Hermes and many more: `<tool_call>` with a JSON object of name and arguments. Knows no template.

Small models deviate: a fenced or bare JSON object in place of a tagged one, a missing end tag. What names a
known tool is a call; anything else stays text, unchanged.
"""

import json
import re

from kimi_runtime.dialects.base import Plain, Reader, Scanner, Thought, Tools, parse_calls
from kimi_runtime.dialects.rules import Openings, Rules, any_of, quoted
from kimi_runtime.dialects.texts import blank, end_of_json, held, json_end

_CALL, _CALL_END = "<tool_call>", "</tool_call>"


class Hermes(Plain):
    name = "hermes"

    def reader(self, tools: Tools, *, thinking: bool = False) -> Reader:
        return HermesReader(tools, self.thought, thinking=thinking)

    def grammar(self, rules: Rules, tools: Tools, *, many: bool) -> Openings:
        bodies = [
            rules.rule(f"{quoted(_head(name))} {rules.json(schema)} {quoted('}')}")
            for name, schema in tools.items()
        ]
        line = quoted("\n")
        body = f"{line} {rules.rule(any_of(bodies))} {line} {rules.literal(_CALL_END)}"
        call = f"{rules.literal(_CALL)} {body}"
        more = f"({line} {call})*" if many else ""
        return Openings(after={_CALL: body}, whole=f"{call} {more}".strip())


_FENCE = "```"
_FENCE_HEAD = re.compile(r"```[ \t]*(\w*)[ \t]*\r?\n\s*(\S)")
_FENCE_END = re.compile(r"[}\]]\s*```")
_CALL_LANGUAGES = ("", "json", "tool_call", "xml")
_BARE_PATIENCE = 60


def _head(name: str) -> str:
    return f'{{"name": {json.dumps(name)}, "arguments": '


class HermesReader(Scanner):
    """Splits an answer at tags, fences and bare objects; holds back only what may still become one of
    these."""

    def __init__(self, tools: Tools, thought: Thought, *, thinking: bool) -> None:
        super().__init__()
        self._tools = tools
        self._think_open, self._think_close = thought.opener, thought.closer
        self._state = "thinking" if thinking else "start"
        self._in_fence = False
        self._called = False
        self._thought = False
        self._fresh = True

    def _left(self, text: str) -> None:
        thinking = self._state == "thinking"
        self._emit(text.strip("\n") if thinking and self._fresh else text, thinking=thinking)

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
        if not stripped or (self._think_open.startswith(stripped) and stripped != self._think_open):
            if final:
                self._state = "text"
            return final
        if stripped.startswith(self._think_open):
            self._buffer = stripped[len(self._think_open) :]
            self._state = "thinking"
        elif self._tools and stripped[0] in "{[":
            self._state = "bare"
        else:
            self._state = "text"
        return True

    def _think(self) -> bool:
        if self._fresh:
            self._buffer = self._buffer.lstrip("\n")
        before, found, after = self._buffer.partition(self._think_close)
        if found:
            self._emit(before.rstrip("\n"), thinking=True)
            self._buffer = after
            self._state = "start"
            self._thought = self._fresh = True
            return True
        certain = self._buffer[: len(self._buffer) - held(self._buffer, (self._think_close,))].rstrip("\n")
        if certain:
            self._fresh = False
        self._emit(certain, thinking=True)
        self._buffer = self._buffer[len(certain) :]
        return False

    def _text(self, *, final: bool) -> bool:
        if not self._tools:
            self._emit(self._buffer)
            self._buffer = ""
            return False
        marks = (_CALL, _FENCE)
        found = [(at, mark) for mark in marks if (at := self._buffer.find(mark)) >= 0]
        if not found:
            if final and self._called and not self._buffer.strip():
                self._buffer = ""  # blank space after the last call
            keep = 0 if final else held(self._buffer, marks)
            if not final:
                keep += blank(self._buffer[: len(self._buffer) - keep])
            self._emit(self._buffer[: len(self._buffer) - keep])
            self._buffer = self._buffer[len(self._buffer) - keep :]
            return False
        at, mark = min(found)
        if mark == _CALL:
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
            keep = blank(before)
            self._emit(before[: len(before) - keep])
            self._buffer = self._buffer[len(before) - keep :]
            return False
        if head is not None and head[1].lower() in _CALL_LANGUAGES and head[2] in "{[":
            keep = blank(self._buffer[:at])  # given back if the fence holds no call
            self._emit(self._buffer[: at - keep])
            self._buffer = self._buffer[at - keep :]
            self._state = "fence"
            return True
        self._in_fence = True
        self._emit(self._buffer[: at + len(_FENCE)])
        self._buffer = self._buffer[at + len(_FENCE) :]
        return True

    def _call(self, *, final: bool) -> bool:
        """Marks inside the strings of the arguments are text; a call may lack its end."""
        end, mark = end_of_json(self._buffer, (_CALL_END, _CALL), final=final)
        if not mark and not final:
            return False
        body, rest = self._buffer[:end], self._buffer[end:]
        if not self._add_calls(body, known_only=False):
            self._emit(_CALL + body + (_CALL_END if mark == _CALL_END else ""))
        self._buffer = rest.removeprefix(_CALL_END)
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
        end, _ = json_end(self._buffer, 0)
        mark = self._buffer.find(_CALL)
        unlikely = len(self._buffer) > _BARE_PATIENCE and '"name"' not in self._buffer[:_BARE_PATIENCE]
        if unlikely or 0 <= mark < (end if end >= 0 else len(self._buffer)):
            self._state = "text"
        elif end >= 0:
            if self._add_calls(self._buffer[:end], known_only=True):
                self._buffer = self._buffer[end:]
            self._state = "text"
        elif final:
            self._state = "text"
        else:
            return False
        return True

    def _add_calls(self, body: str, *, known_only: bool) -> bool:
        calls = parse_calls(body)
        if not calls or (known_only and any(call.name not in self._tools for call in calls)):
            return False
        self._parts += calls
        self._called = True
        return True
