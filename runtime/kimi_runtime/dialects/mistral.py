"""Mistral: `[TOOL_CALLS]`, then a list of JSON calls, or since 2025 a name, `[ARGS]` and JSON for each call.
Knows no template."""

import json
import re

from kimi_runtime.dialects.base import (
    THINK,
    CallPart,
    MarkedReader,
    Message,
    Plain,
    Reader,
    Taken,
    Thought,
    Tools,
    call_of,
    parse_calls,
)
from kimi_runtime.dialects.kimi import renamed
from kimi_runtime.dialects.rules import Openings, Rules, any_of, quoted
from kimi_runtime.dialects.texts import json_end

_CALLS, _ARGS, _ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
_LONGEST_HEAD = 256
_NAMED = re.compile(r"\s*([^\s\[{]+)\s*(?:\[CALL_ID\]\s*([^\s\[{]*)\s*)?(?:\[ARGS\])?\s*(?=\{)")


class Mistral(Plain):
    """`named`: the newer form, a name and `[ARGS]` for each call."""

    name = "mistral"
    thought = Thought(opener="[THINK]", closer="[/THINK]", ending="[/THINK]")

    def __init__(self, *, named: bool) -> None:
        self.named = named

    def reader(self, tools: Tools, *, thinking: bool = False) -> Reader:
        return MistralReader(tools, self.thought, thinking=thinking)

    def grammar(self, rules: Rules, tools: Tools, *, many: bool) -> Openings:
        mark = rules.literal(_CALLS)
        bodies: list[str] = []
        for name, schema in tools.items():
            if self.named:
                head, tail = f"{quoted(name)} {rules.literal(_ARGS)}", ""
            else:
                head, tail = quoted(_head(name)), quoted("}")
            bodies.append(rules.rule(f"{head} {rules.json(schema)} {tail}"))
        body = rules.rule(any_of(bodies))
        if self.named:
            more = f"({mark} {body})*" if many else ""
            return Openings(after={_CALLS: body}, whole=f"{mark} {body} {more}")
        more = f"({quoted(', ')} {body})*" if many else ""
        listed = f"({quoted(' ')})? {quoted('[')} {body} {more} {quoted(']')}"
        return Openings(after={_CALLS: listed}, whole=f"{mark} {listed}")

    def replay(self, messages: list[Message]) -> list[Message]:
        return renamed(messages, self.call_id)

    def call_id(self, name: str, index: int) -> str:
        del name
        return f"{index:09d}"  # templates take nothing but nine letters or digits


def _head(name: str) -> str:
    return f'{{"name": {json.dumps(name)}, "arguments": '


class MistralReader(MarkedReader):
    openers = (_CALLS,)
    wakes = ("}", "]")

    def _start(self, *, final: bool) -> bool:
        """The first models that think wrote `<think>`."""
        start = self._buffer.lstrip()
        if start.startswith(THINK.opener):
            self._thought, self._in_thought = THINK, (THINK.closer,)
        elif not final and start and THINK.opener.startswith(start):
            return False
        return super()._start(final=final)

    def _parse(self, opener: str, body: str, *, final: bool) -> Taken | None:
        del opener
        start = body.lstrip()
        lead = len(body) - len(start)
        if not start:
            return Taken(end=len(body)) if final else None
        if start[0] in "[{":
            end, _ = json_end(body, lead)
            if end < 0:
                return Taken(end=len(body)) if final else None
            return Taken(end=end, calls=parse_calls(body[lead:end]))
        head = _NAMED.match(body)
        if head is None or head.end() > _LONGEST_HEAD:
            undecided = "{" not in body and len(body) <= _LONGEST_HEAD
            return None if undecided and not final else Taken(end=0)
        end, _ = json_end(body, head.end())
        if end < 0:
            return Taken(end=len(body)) if final else None
        call: CallPart | None = call_of(head[1], body[head.end() : end])
        return Taken(end=end, calls=(call,) if call else ())
