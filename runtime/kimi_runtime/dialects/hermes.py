"""Qwen, Hermes and many more: `<tool_call>` with a JSON object of name and arguments. Knows no template.

Small models deviate: a fenced or bare JSON object in place of a tagged one, a missing end tag. What names a
known tool is a call; anything else stays text, unchanged.
"""

import json
import re

from kimi_runtime.dialects.base import MarkedReader, Plain, Reader, Thought, Tools, parse_calls
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


class HermesReader(MarkedReader):
    """Splits an answer at tags, fences and bare objects; holds back only what may still become one of
    these."""

    def __init__(self, tools: Tools, thought: Thought, *, thinking: bool) -> None:
        super().__init__(tools, thought, thinking=thinking)
        self._in_fence = False

    def _advance(self, *, final: bool) -> bool:
        match self._state:
            case "fence":
                return self._fence(final=final)
            case "bare":
                return self._bare(final=final)
            case _:
                return super()._advance(final=final)

    def _start(self, *, final: bool) -> bool:
        """At the very beginning, and after a thought: a thought, a bare object or text."""
        moved = super()._start(final=final)
        if moved and self._state == "text" and self._tools and self._buffer.lstrip().startswith(("{", "[")):
            self._state = "bare"
        return moved

    def _text(self, *, final: bool) -> bool:
        if self._state == "after":
            self._buffer = self._buffer.lstrip()
            self._state = "start" if self._buffer else "after"
            return bool(self._buffer)
        if not self._tools:
            self._emit(self._buffer)
            self._buffer = ""
            return False
        marks = (_CALL, _FENCE)
        found = [(at, mark) for mark in marks if (at := self._buffer.find(mark)) >= 0]
        if not found:
            if final and self._after_call and not self._buffer.strip():
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
        self._after_call = True
        return True
