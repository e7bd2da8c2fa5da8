"""Qwen3-Coder: a call as tags, `<function=NAME>` with a `<parameter=KEY>` for each argument. Knows no
template.

Understood as well: a call without `<tool_call>` around it, and a parameter that is not closed.
"""

import re
from typing import Any

from kimi_runtime.dialects import typed
from kimi_runtime.dialects.base import MarkedReader, Plain, Reader, Taken, Tools, call_with
from kimi_runtime.dialects.rules import Openings, Rules, any_of, quoted

_CALL, _CALL_END = "<tool_call>", "</tool_call>"
_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"
_OPENING, _CLOSING, _KEY_END = "\n<function=", "</function>\n", ">\n"
_CLOSES = r"\n?</parameter>\s*(?=<parameter=|</function>|</tool_call>)|\n?(?=</function>\s*</tool_call>)"
_CLOSE = re.compile(_CLOSES + r"|\n(?=<parameter=[^>\n]+>\n)")
"""What ends a parameter: its end mark, or what comes after it where that is missing. Marks inside a text are
text, so what follows them must be right."""
_CLOSE_AT_END = re.compile(_CLOSE.pattern + r"|\n?</parameter>\s*\Z|\n?(?=</function>\s*\Z)")
_NEVER = (
    r".*</parameter>\s*(<parameter=|</function>|</tool_call>).*",
    r".*</function>\s*</tool_call>.*",
    r".*\n<parameter=[^>\n]+>\n.*",
)
_HEAD = re.compile(r"\s*<function=([^>\n]+)>")
_KEY = re.compile(r"\s*<parameter=([^>\n]+)>")
_TAIL = re.compile(r"\s*(?:</function>)?\s*(?:</tool_call>)?")


class QwenXml(Plain):
    name = "qwen-xml"
    calls_in_thought = True

    def reader(self, tools: Tools, *, thinking: bool = False) -> Reader:
        return QwenXmlReader(tools, self.thought, thinking=thinking)

    def grammar(self, rules: Rules, tools: Tools, *, many: bool) -> Openings:
        bodies = [rules.rule(_function(rules, name, schema)) for name, schema in tools.items()]
        body = rules.rule(f"{any_of(bodies)} {quoted(_CLOSING)} {rules.literal(_CALL_END)}")
        call = f"{rules.literal(_CALL)} {quoted(_OPENING)} {body}"
        line = quoted("\n")
        more = f"({line} {call})*" if many else ""
        return Openings(after={_CALL: f"{quoted(_OPENING)} {body}", _FUNCTION: body}, whole=f"{call} {more}")


def _function(rules: Rules, name: str, schema: dict[str, Any]) -> str:
    """A call from its name on, up to what closes the function."""
    parts = [quoted(f"{name}>\n")]
    required = typed.required(schema)
    for key, argument in typed.properties(schema).items():
        text = typed.writing(rules, argument, schema, "\n</parameter>\n", never=_NEVER)
        parameter = rules.rule(f"{quoted(_key(key))} {text}")
        parts.append(parameter if key in required else f"{parameter}?")
    if len(parts) == 1 and schema.get("additionalProperties") is not False:
        extra = schema.get("additionalProperties")
        rest: dict[str, Any] = extra if isinstance(extra, dict) else {}  # pyright: ignore
        text = typed.writing(rules, rest, schema, "\n</parameter>\n", never=_NEVER)
        key = rules.terminal("/[A-Za-z_][A-Za-z0-9_.-]{0,63}/")
        parts.append(f"({quoted('<parameter=')} {key} {quoted(_KEY_END)} {text})*")
    return " ".join(parts)


def _key(name: str) -> str:
    return f"{_PARAMETER}{name}{_KEY_END}"


class QwenXmlReader(MarkedReader):
    openers = (_CALL, _FUNCTION)
    thought_openers = (_CALL + _OPENING,)
    wakes = (">",)
    strips = True

    def _parse(self, opener: str, body: str, *, final: bool) -> Taken | None:
        shift = len(_FUNCTION) if opener == _FUNCTION else 0
        text = _FUNCTION + body if shift else body
        head = _HEAD.match(text)
        if head is None:
            return self._headless(text, final=final)
        schema = self._tools.get(head[1].strip(), {})
        known = typed.properties(schema)
        arguments: dict[str, Any] = {}
        at = head.end()
        while key := _KEY.match(text, at):
            close = (_CLOSE_AT_END if final else _CLOSE).search(text, key.end())
            if close is None:
                return Taken(end=len(body)) if final else None
            name = key[1].strip()
            arguments[name] = typed.value(
                text[key.end() : close.start()].removeprefix("\n"), known.get(name, {}), schema
            )
            at = close.end()
        rest = text[at:].lstrip()
        if not rest.startswith(_FUNCTION_END):
            partial = not rest or any(
                mark.startswith(rest) or (rest.startswith(mark) and ">" not in rest)
                for mark in (_PARAMETER, _FUNCTION_END)
            )
            if partial and not final:
                return None
            if not rest.startswith(_CALL_END):
                return Taken(end=at - shift)
        tail = _TAIL.match(text, at)
        end = tail.end() if tail else at
        if not final and not text[at:end].endswith(_CALL_END) and _CALL_END.startswith(text[end:].lstrip()):
            return None
        call = call_with(head[1].strip(), arguments)
        return Taken(end=end - shift, calls=(call,) if call else ())

    @staticmethod
    def _headless(text: str, *, final: bool) -> Taken | None:
        """No function where one should begin."""
        start = text.lstrip()
        if not final and (_FUNCTION.startswith(start) or re.fullmatch(r"<function=[^>\n]*", start)):
            return None
        return Taken(end=0)
