"""DeepSeek V3, R1 and V3.1: a section of calls between marks of full-width bars. Knows no template.

V3 and R1 write `function`, the name and a fence with JSON; V3.1 the name and JSON alone. Both are read;
the grammar writes the form of the model's own template.
"""

import re
from typing import Any

from kimi_runtime.dialects.base import CallPart, MarkedReader, Message, Plain, Reader, Taken, Tools, call_of
from kimi_runtime.dialects.rules import Openings, Rules, any_of, quoted
from kimi_runtime.dialects.texts import end_of_json, first_of

_SECTION, _SECTION_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_CALL, _SEPARATOR, _CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"
_FENCE, _FENCE_END = "\n```json\n", "\n```"
_FENCED = re.compile(r"\s*([^\n`]*?)\s*```(?:json)?\s*(.*?)\s*(?:```\s*)?\Z", re.DOTALL)


class DeepSeek(Plain):
    """`fenced`: the form of V3 and R1."""

    name = "deepseek"

    def __init__(self, *, fenced: bool) -> None:
        self.fenced = fenced

    def reader(self, tools: Tools, *, thinking: bool = False) -> Reader:
        return DeepSeekReader(tools, self.thought, thinking=thinking)

    def grammar(self, rules: Rules, tools: Tools, *, many: bool) -> Openings:
        calls = [rules.rule(self._call(rules, name, schema)) for name, schema in tools.items()]
        opened = f"{rules.literal(_CALL)} {rules.rule(any_of(calls))}"
        between = quoted("\n") if self.fenced else ""
        section = f"{opened} {f'({between} {opened})*' if many else ''} {rules.literal(_SECTION_END)}"
        return Openings(after={_SECTION: section}, whole=f"{rules.literal(_SECTION)} {section}")

    def replay(self, messages: list[Message]) -> list[Message]:
        """A message with calls and no text has no content at all: templates ask for that."""
        return [
            {**message, "content": None}
            if message.get("tool_calls") and not message.get("content")
            else message
            for message in messages
        ]

    def _call(self, rules: Rules, name: str, schema: dict[str, Any]) -> str:
        value, end = rules.json(schema), rules.literal(_CALL_END)
        if self.fenced:
            head = f"{quoted('function')} {rules.literal(_SEPARATOR)} {quoted(name + _FENCE)}"
            return f"{head} {value} {quoted(_FENCE_END)} {end}"
        return f"{quoted(name)} {rules.literal(_SEPARATOR)} {value} {end}"


class DeepSeekReader(MarkedReader):
    openers = (_SECTION, _CALL)
    wakes = ("<｜tool▁call",)
    strips = True

    def _parse(self, opener: str, body: str, *, final: bool) -> Taken | None:
        at = 0
        if opener == _SECTION:
            at, mark = first_of(body, (_CALL, _SECTION_END))
            if not mark:
                return Taken(end=len(body)) if final else None
            at += len(mark)
            if mark == _SECTION_END:
                return Taken(end=at)
        end, mark = _end_of(body, at, final=final)
        if not mark:
            return Taken(end=len(body)) if final else None
        call = _read(body[at:end])
        end += len(mark)
        if call is None:
            return Taken(end=end)
        rest = body[end:].lstrip()
        if rest.startswith(_SECTION_END):
            end = len(body) - len(rest) + len(_SECTION_END)
        elif not final and _SECTION_END.startswith(rest):
            return None
        return Taken(end=end, calls=(call,))


def _end_of(body: str, start: int, *, final: bool) -> tuple[int, str]:
    first, mark = first_of(body, (_SEPARATOR, _CALL_END), start)
    if mark == _CALL_END:
        return first, mark
    separator = first if mark else start
    return end_of_json(body, (_CALL_END,), max(start, separator), final=final)


def _read(call: str) -> CallPart | None:
    head, found, rest = call.partition(_SEPARATOR)
    if not found:
        return None
    if head.strip() == "function" and (fenced := _FENCED.match(rest)):
        return call_of(fenced[1], fenced[2])
    return call_of(head, rest)
