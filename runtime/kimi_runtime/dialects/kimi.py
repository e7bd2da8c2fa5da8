"""Kimi K2, K2.5 and K2.6: a section of calls, each with an id `functions.NAME:INDEX`. Knows no template.

Seen in the wild and understood: the singular section mark, a missing section end, calls without a section
or inside an open thought, ids without `functions.` or without an index, blank space and noise between marks.
"""

import re
from collections import deque
from collections.abc import Callable

from kimi_runtime.dialects.base import (
    CallPart,
    MarkedReader,
    Message,
    Plain,
    Reader,
    Taken,
    Thought,
    Tools,
    call_of,
)
from kimi_runtime.dialects.rules import Openings, Rules, any_of, quoted
from kimi_runtime.dialects.texts import end_of_json, first_of

_SECTION, _SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
_ODD_SECTION, _ODD_SECTION_END = "<|tool_call_section_begin|>", "<|tool_call_section_end|>"
_CALL, _ARGUMENTS, _CALL_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
_ENDS = (_SECTION_END, _ODD_SECTION_END)
_ID = re.compile(r"\s*(?:functions\.)?(.+?)(?::(\d+))?\s*\Z", re.DOTALL)


class Kimi(Plain):
    name = "kimi"
    thought = Thought(opener="<think>", closer="</think>", ending="</think>")
    calls_in_thought = True

    def reader(self, tools: Tools, *, thinking: bool = False) -> Reader:
        return KimiReader(tools, self.thought, thinking=thinking)

    def grammar(self, rules: Rules, tools: Tools, *, many: bool) -> Openings:
        index = rules.terminal("/[0-9]{1,4}/")
        calls: list[str] = []
        for name, schema in tools.items():
            head = f"{quoted('functions.' + name + ':')} {index} {rules.literal(_ARGUMENTS)}"
            calls.append(rules.rule(f"{head} {rules.json(schema)} {rules.literal(_CALL_END)}"))
        body = rules.rule(any_of(calls))
        opened = f"{rules.literal(_CALL)} {body}"
        more = f"({opened})*" if many else ""
        section = f"{opened} {more} {rules.literal(_SECTION_END)}"
        return Openings(
            after={
                _SECTION: section,
                _ODD_SECTION: section,
                _CALL: f"{body} {more} ({rules.literal(_SECTION_END)})?",
            },
            whole=f"{rules.literal(_SECTION)} {section}",
        )

    def replay(self, messages: list[Message]) -> list[Message]:
        return renamed(messages, self.call_id)

    def call_id(self, name: str, index: int) -> str:
        return f"functions.{name}:{index}"


class KimiReader(MarkedReader):
    openers = thought_openers = (_SECTION, _ODD_SECTION, _CALL)
    wakes = ("<|tool_call",)

    def _call(self, *, final: bool) -> bool:
        if self._opener != _CALL:
            return self._between(final=final)
        taken = _one(self._buffer, final=final)
        if taken is None:
            return False
        if taken.calls:
            self._parts += taken.calls
        else:
            self._emit(_CALL + self._buffer[: taken.end])
        self._buffer = self._buffer[taken.end :]
        self._opener = ""
        return True

    def _between(self, *, final: bool) -> bool:
        """In a section, outside a call: anything but the next mark is noise."""
        at, mark = first_of(self._buffer, (_CALL, *_ENDS))
        if mark == _CALL:
            self._buffer = self._buffer[at + len(mark) :]
            self._opener = _CALL
            return True
        if mark:
            self._buffer = self._buffer[at + len(mark) :]
            self._state = "text"
            return True
        if final:
            self._buffer = ""
        return False


def _one(body: str, *, final: bool) -> Taken | None:
    """The call whose begin mark stands before `body`."""
    at, mark = first_of(body, (_ARGUMENTS, _CALL_END, *_ENDS, _CALL))
    if not mark:
        return Taken(end=len(body)) if final else None
    if mark != _ARGUMENTS:
        return Taken(end=at + (len(mark) if mark == _CALL_END else 0))
    start = at + len(_ARGUMENTS)
    end, stop = end_of_json(body, (_CALL_END, *_ENDS, _CALL), start, final=final)
    if not stop and not final:
        return None
    call = named(body[:at], body[start:end]) if stop or body[start:].strip() else None
    return Taken(end=end + (len(_CALL_END) if stop == _CALL_END else 0), calls=(call,) if call else ())


def named(identifier: str, arguments: str) -> CallPart | None:
    found = _ID.match(identifier)
    return call_of(found[1], arguments) if found else None


def renamed(messages: list[Message], name_of: Callable[[str, int], str]) -> list[Message]:
    """Ids of calls by their place in the conversation, and results to match: other ids confuse the model.

    A result without a known id belongs to the first call that has none yet."""
    changed: list[Message] = []
    count = 0
    open_calls: deque[tuple[object, str]] = deque()
    for message in messages:
        if calls := message.get("tool_calls"):
            fresh: list[Message] = []
            open_calls.clear()
            for call in calls:
                new = name_of(str(call["function"].get("name", "")), count)
                fresh.append({**call, "id": new})
                open_calls.append((call.get("id"), new))
                count += 1
            message = {**message, "tool_calls": fresh}
        elif message.get("role") == "tool" and open_calls:
            old = message.get("tool_call_id")
            match = next((one for one in open_calls if one[0] == old), open_calls[0])
            open_calls.remove(match)
            message = {**message, "tool_call_id": match[1]}
        changed.append(message)
    return changed
