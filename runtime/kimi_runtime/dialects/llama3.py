"""Llama 3: the whole answer is a JSON object of name and parameters, often after `<|python_tag|>`. Knows no
template."""

import json
import re

from kimi_runtime.dialects.base import (
    CallPart,
    MarkedReader,
    Message,
    Plain,
    Reader,
    Taken,
    Tools,
    parse_calls,
)
from kimi_runtime.dialects.rules import Openings, Rules, any_of, quoted
from kimi_runtime.dialects.texts import json_end

_FIRST = '{"name": '
_TAG = "<|python_tag|>"
_BETWEEN = re.compile(r"\s*;?\s*(?:<\|python_tag\|>)?\s*(?=[{\[])")

_OPEN_END = re.compile(r"\s*;?\s*(?:<[|a-z_>]*)?\Z")
"""What may still become the gap before another call."""


class Llama3(Plain):
    name = "llama3"

    def reader(self, tools: Tools, *, thinking: bool = False) -> Reader:
        return Llama3Reader(tools, self.thought, thinking=thinking)

    def grammar(self, rules: Rules, tools: Tools, *, many: bool) -> Openings:
        del many  # these models were taught one call at a time
        bodies = [
            rules.rule(f"{quoted(_head(name))} {rules.json(schema)} {quoted('}')}")
            for name, schema in tools.items()
        ]
        body = rules.rule(any_of(bodies))
        return Openings(after={_TAG: body}, first={_FIRST: _rest(rules, tools)}, whole=body)

    def replay(self, messages: list[Message]) -> list[Message]:
        """One call a message: templates refuse more."""
        changed: list[Message] = []
        results: dict[object, Message] = {
            message.get("tool_call_id"): message for message in messages if message.get("role") == "tool"
        }
        moved: set[int] = set()
        for message in messages:
            calls: list[Message] = message.get("tool_calls") or []
            if id(message) in moved:
                continue
            if len(calls) < 2:
                changed.append(message)
                continue
            for number, call in enumerate(calls):
                changed.append(
                    {**message, "content": message["content"] if not number else "", "tool_calls": [call]}
                )
                if (result := results.get(call.get("id"))) is not None and id(result) not in moved:
                    changed.append(result)
                    moved.add(id(result))
        return changed


def _head(name: str) -> str:
    return f'{_FIRST}{json.dumps(name)}, "parameters": '


def _rest(rules: Rules, tools: Tools) -> str:
    """A call after its first words."""
    ways = [
        rules.rule(f"{quoted(_head(name).removeprefix(_FIRST))} {rules.json(schema)} {quoted('}')}")
        for name, schema in tools.items()
    ]
    return any_of(ways)


class Llama3Reader(MarkedReader):
    """A call without a tag is one only at the very beginning, and only of a known tool."""

    openers = (_TAG,)
    wakes = ("}", "]")
    strips = True

    def _start(self, *, final: bool) -> bool:
        return self._bare() or super()._start(final=final)

    def _text(self, *, final: bool) -> bool:
        return (self._state == "after" and self._bare()) or super()._text(final=final)

    def _bare(self) -> bool:
        stripped = self._buffer.lstrip()
        if not self._tools or not stripped.startswith(("{", "[")):
            return False
        self._buffer = stripped
        self._opener, self._state, self._seen = "", "call", 0
        return True

    def _parse(self, opener: str, body: str, *, final: bool) -> Taken | None:
        first = re.match(r"\s*(?=[{\[])", body)
        if first is None:
            return None if not body.strip() and not final else Taken(end=0)
        calls: list[CallPart] = []
        at, end = first.end(), -1
        while True:
            stop, _ = json_end(body, at)
            if stop < 0 and not final:
                return None
            found = parse_calls(body[at:stop]) if stop >= 0 else []
            if not found or (not opener and any(call.name not in self._tools for call in found)):
                break
            calls += found
            end = stop
            more = _BETWEEN.match(body, end)
            if more is None:
                if not final and _OPEN_END.match(body, end):
                    return None
                break
            at = more.end()
        return Taken(end=end if calls else len(body) if stop < 0 else stop, calls=calls)
