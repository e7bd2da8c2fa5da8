"""gpt-oss: messages with a channel each; a call is a message to `functions.NAME`. Knows no template.

An answer goes on after `<|start|>assistant`. Its channels: analysis is thought, commentary is text before
calls, final is the answer.
"""

import re
from typing import Any

from kimi_runtime.dialects.base import Message, Plain, Reader, Scanner, Thought, Tools, call_of
from kimi_runtime.dialects.rules import Openings, Rules, any_of, quoted
from kimi_runtime.dialects.texts import end_of_json, first_of, held

_START, _CHANNEL, _CONSTRAIN, _MESSAGE = "<|start|>", "<|channel|>", "<|constrain|>", "<|message|>"
_ENDS = ("<|end|>", "<|call|>", "<|return|>")
_STOPS = (*_ENDS, _START, _CHANNEL)
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")
_NAME = re.compile(r"\s*(\w*)")


class Harmony(Plain):
    name = "harmony"
    thought = Thought(
        opener="<|channel|>analysis<|message|>",
        closer="<|end|>",
        ending="<|end|><|start|>assistant",
        anywhere=True,
    )

    def reader(self, tools: Tools, *, thinking: bool = False) -> Reader:
        return HarmonyReader(tools, thinking=thinking)

    def grammar(self, rules: Rules, tools: Tools, *, many: bool) -> Openings:
        del many  # `<|call|>` ends the answer
        by_channel: list[str] = []
        by_role: list[str] = []
        typed = rules.literal(f"{_CONSTRAIN}json{_MESSAGE}")
        for name, schema in tools.items():
            value = f"{rules.json(schema)} {rules.literal('<|call|>')}"
            by_channel.append(rules.rule(f"{quoted(name + ' ')} {typed} {value}"))
            head = f"{quoted(name)} {rules.literal(_CHANNEL)} {quoted('commentary ')} {typed}"
            by_role.append(rules.rule(f"{head} {value}"))
        channel, role = rules.rule(any_of(by_channel)), rules.rule(any_of(by_role))
        text = rules.raw("<|end|>")
        thought = f"{rules.literal('<|channel|>analysis<|message|>')} {text}"
        call = f"{rules.literal('<|channel|>commentary to=functions.')} {channel}"
        return Openings(
            after={
                "<|channel|>commentary to=functions.": channel,
                "<|channel|>analysis to=functions.": channel,
                "<|start|>assistant to=functions.": role,
            },
            first={" to=functions.": role},
            whole=f"({thought} {rules.literal('<|start|>assistant')})? {call}",
        )

    def replay(self, messages: list[Message]) -> list[Message]:
        """Thoughts under the name that the family's templates know."""
        return [_with_thinking(message) for message in messages]


def _with_thinking(message: Message) -> Message:
    thought: Any = message.get("reasoning_content")
    if message.get("role") != "assistant" or not thought or "thinking" in message:
        return message
    changed = {**message, "thinking": thought}
    if changed.get("tool_calls") and changed.get("content"):
        del changed["thinking"]  # templates refuse a call with both
    return changed


class HarmonyReader(Scanner):
    def __init__(self, tools: Tools, *, thinking: bool) -> None:
        super().__init__()
        self._tools = tools
        self._state = "thinking" if thinking else "header"
        self._header = ""
        self._name = ""
        self._begun = False

    def _advance(self, *, final: bool) -> bool:
        match self._state:
            case "header":
                return self._read_header(final=final)
            case "call":
                return self._read_call(final=final)
            case _:
                return self._read_text(final=final)

    def _left(self, text: str) -> None:
        if self._state == "header" and self._begun:
            return  # half a header says nothing
        self._emit(text, thinking=self._state == "thinking")

    def _read_header(self, *, final: bool) -> bool:
        if not self._begun:
            start = self._buffer.lstrip()
            if not start:
                return False
            known = (*_STOPS, _MESSAGE, "assistant", "to=")
            if not start.startswith(known):
                if not final and any(mark.startswith(start) for mark in known):
                    return False
                self._state = "text"  # no message at all
                return True
            self._begun = True
        at, mark = first_of(self._buffer, (_MESSAGE, *_ENDS, _START))
        if not mark:
            return False
        header, self._buffer = self._buffer[:at], self._buffer[at + len(mark) :]
        if mark != _MESSAGE:
            return True
        self._open(header)
        return True

    def _open(self, header: str) -> None:
        """Choose by channel and recipient how the message is read."""
        self._header = header + _MESSAGE
        channel = _NAME.match(header.rpartition(_CHANNEL)[2]) if _CHANNEL in header else None
        named = channel[1] if channel else "final"
        found = _RECIPIENT.findall(header)
        recipient: str = found[-1] if found else ""
        name = recipient.removeprefix("functions.")
        # What is after a second channel mark replaces what was before it: models start a header anew.
        stray = header.count(_CHANNEL) > 1 and not _RECIPIENT.search(header.rpartition(_CHANNEL)[2])
        if name and not stray and (name != recipient or name in self._tools):
            self._name, self._state = name, "call"
        else:
            self._state = "thinking" if named == "analysis" else "text"

    def _read_text(self, *, final: bool) -> bool:
        at, mark = first_of(self._buffer, _STOPS)
        thinking = self._state == "thinking"
        if mark:
            self._emit(self._buffer[:at], thinking=thinking)
            self._to_header(at, mark)
            return True
        keep = 0 if final else held(self._buffer, _STOPS)
        self._emit(self._buffer[: len(self._buffer) - keep], thinking=thinking)
        self._buffer = self._buffer[len(self._buffer) - keep :]
        return False

    def _read_call(self, *, final: bool) -> bool:
        """Marks inside the strings of the arguments are text."""
        at, mark = end_of_json(self._buffer, _STOPS, final=final)
        if not mark and not final:
            return False
        call = call_of(self._name, self._buffer[:at])
        if call is not None and (mark or self._buffer.strip()):
            self._parts.append(call)
        else:
            self._emit(self._header + self._buffer[:at])
        self._to_header(at, mark)
        return True

    def _to_header(self, at: int, mark: str) -> None:
        self._buffer = self._buffer[at + (len(mark) if mark in _ENDS or mark == _START else 0) :]
        self._state = "header"
        self._begun = True
