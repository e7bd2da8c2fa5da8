"""GLM 4.5 and later: a call is its name, then pairs of `<arg_key>` and `<arg_value>`. Knows no template."""

import re
from typing import Any

from kimi_runtime.dialects import typed
from kimi_runtime.dialects.base import MarkedReader, Plain, Reader, Taken, Tools, call_with, parse_calls
from kimi_runtime.dialects.rules import Openings, Rules, any_of, quoted

_CALL, _CALL_END = "<tool_call>", "</tool_call>"
_KEY, _KEY_END, _VALUE, _VALUE_END = "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"
_LINE = "\n"
_PAIR = re.compile(r"\s*<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)

_OPEN_PAIR = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</tool_call>\s*\Z", re.DOTALL)


class Glm(Plain):
    """`between`: what stands between the parts of a call; a line end up to 4.6, nothing later."""

    name = "glm"

    def __init__(self, *, between: str = "\n") -> None:
        self.between = between

    def reader(self, tools: Tools, *, thinking: bool = False) -> Reader:
        return GlmReader(tools, self.thought, thinking=thinking)

    def grammar(self, rules: Rules, tools: Tools, *, many: bool) -> Openings:
        bodies = [rules.rule(self._body(rules, name, schema)) for name, schema in tools.items()]
        body = f"{rules.rule(any_of(bodies))} {rules.literal(_CALL_END)}"
        gap = quoted(self.between)
        lead = f"({quoted(_LINE)})?" if self.between else ""  # templates write one before a call
        call = f"{rules.literal(_CALL)} {body}"
        return Openings(
            after={_CALL: body}, whole=f"{lead} {call} {f'({gap} {call})*' if many else ''}".strip()
        )

    def _body(self, rules: Rules, name: str, schema: dict[str, Any]) -> str:
        gap = self.between
        parts = [quoted(name + gap)]
        required = typed.required(schema)
        end = _VALUE_END + gap
        for key, argument in typed.properties(schema).items():
            head = f"{rules.literal(_KEY)} {quoted(key)} {rules.literal(f'{_KEY_END}{gap}{_VALUE}')}"
            pair = rules.rule(f"{head} {self._value(rules, argument, schema, end)}")
            parts.append(pair if key in required else f"{pair}?")
        if len(parts) == 1 and schema.get("additionalProperties") is not False:
            extra = schema.get("additionalProperties")
            rest: dict[str, Any] = extra if isinstance(extra, dict) else {}  # pyright: ignore
            key = f"{rules.terminal('/[A-Za-z_][A-Za-z0-9_.-]{0,63}/')}"
            head = f"{rules.literal(_KEY)} {key} {rules.literal(f'{_KEY_END}{gap}{_VALUE}')}"
            parts.append(f"({head} {self._value(rules, rest, schema, end)})*")
        return " ".join(part for part in parts if part)

    @staticmethod
    def _value(rules: Rules, argument: typed.Schema, schema: dict[str, Any], end: str) -> str:
        if not rules.is_token(_VALUE_END):
            return typed.writing(rules, argument, schema, end)
        gap = quoted(end.removeprefix(_VALUE_END))
        return f"{typed.writing(rules, argument, schema, _VALUE_END)} {gap}"


class GlmReader(MarkedReader):
    openers = (_CALL,)
    wakes = (">",)
    strips = True

    def _parse(self, opener: str, body: str, *, final: bool) -> Taken | None:
        del opener
        name = re.match(r"\s*([^\s<{]+)\s*", body)
        if name is None:
            return self._json(body, final=final)
        if name.end() == len(body) and not final:
            return None
        schema = self._tools.get(name[1], {})
        known = typed.properties(schema)
        arguments: dict[str, Any] = {}
        at = name.end()
        while pair := _PAIR.match(body, at):
            key = pair[1].strip()
            arguments[key] = typed.value(pair[2], known.get(key, {}), schema)
            at = pair.end()
        rest = body[at:].lstrip()
        if rest.startswith(_CALL_END):
            call = call_with(name[1], arguments)
            return Taken(end=len(body) - len(rest) + len(_CALL_END), calls=(call,) if call else ())
        if final:
            return self._unclosed(name[1], arguments, rest, schema, len(body))
        if rest.startswith(_KEY) or any(mark.startswith(rest) for mark in (_KEY, _CALL_END)):
            return None
        return Taken(end=at)

    @staticmethod
    def _unclosed(name: str, arguments: dict[str, Any], rest: str, schema: dict[str, Any], end: int) -> Taken:
        """The last value of a call may lack its end mark."""
        pair = _OPEN_PAIR.match(rest)
        if pair is None:
            return Taken(end=end)
        key = pair[1].strip()
        value = typed.value(pair[2], typed.properties(schema).get(key, {}), schema)
        call = call_with(name, {**arguments, key: value})
        return Taken(end=end, calls=(call,) if call else ())

    @staticmethod
    def _json(body: str, *, final: bool) -> Taken | None:
        """Some write the call as JSON, as other families do."""
        end = body.find(_CALL_END)
        if end < 0:
            return Taken(end=len(body)) if final else None
        calls = parse_calls(body[:end])
        return Taken(end=end + len(_CALL_END), calls=calls)
