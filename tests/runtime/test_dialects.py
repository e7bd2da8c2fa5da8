"""Answers of small models, in pieces of every size: text stays text, calls become calls."""

import json

import pytest

from kimi_runtime.dialects import CallPart, Part, TextPart, ThinkingPart, parse_calls
from kimi_runtime.dialects.hermes import Hermes

CALL = '{"name": "Read", "arguments": {"path": "a.py"}}'
READ = ("Read", {"path": "a.py"})


def read(
    answer: str, size: int, *, tools: tuple[str, ...] = ("Read", "Bash"), thinking: bool = False
) -> list[Part]:
    reader = Hermes().reader({name: {} for name in tools}, thinking=thinking)
    parts: list[Part] = []
    for start in range(0, len(answer), size):
        parts += reader.feed(answer[start : start + size])
    return parts + reader.close()


def text_of(parts: list[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def calls_of(parts: list[Part]) -> list[tuple[str, object]]:
    return [(part.name, json.loads(part.arguments)) for part in parts if isinstance(part, CallPart)]


SIZES = (1, 2, 3, 7, 1000)
CALLS = {
    "as trained": (f"<tool_call>\n{CALL}\n</tool_call>", ""),
    "after text": (f"I look.\n<tool_call>\n{CALL}\n</tool_call>", "I look."),
    "no end tag": (f"<tool_call>\n{CALL}", ""),
    "text after": (f"<tool_call>{CALL}</tool_call>Done.", "Done."),
    "fenced json": (f"I read it:\n```json\n{CALL}\n```", "I read it:"),
    "fenced, no language": (f"```\n{CALL}\n```", ""),
    "fence without end": (f"```json\n{CALL}", ""),
    "bare object": (CALL, ""),
    "bare object, blank before": (f"\n {CALL}\n", ""),
    "arguments as text": (
        '<tool_call>{"name": "Read", "arguments": "{\\"path\\": \\"a.py\\"}"}</tool_call>',
        "",
    ),
    "parameters": ('<tool_call>{"name": "functions.Read", "parameters": {"path": "a.py"}}</tool_call>', ""),
    "OpenAI shape": ('<tool_call>{"type": "function", "function": ' + CALL + "}</tool_call>", ""),
    "raw newline in a string": (
        '<tool_call>{"name": "Read", "arguments": {"path": "a.py"},\n"x": "a\nb"}',
        "",
    ),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("answer", "text"), CALLS.values(), ids=CALLS)
def test_a_call_is_found(answer: str, text: str, size: int) -> None:
    parts = read(answer, size)
    assert calls_of(parts) == [READ]
    assert text_of(parts) == text


TEXTS = {
    "prose": "Hello, world.\n\nA list:\n- a < b\n- `x`\n",
    "code": "Here:\n```python\ndef f():\n    return {'a': 1}\n```\nThat is all.",
    "json that is no call": 'A config:\n```json\n{"a": 1}\n```\nDone.',
    "unknown tool, fenced": '```json\n{"name": "Nope", "arguments": {}}\n```',
    "unknown tool, bare": '{"name": "Nope", "arguments": {}}',
    "bare list": "[1, 2, 3]",
    "a brace": "{ is a brace",
    "half a tag": "a <tool_",
    "half a fence": "a ``",
    "empty fence": "```\n```",
    "broken call": "<tool_call>\nnot json\n</tool_call> rest",
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("answer", TEXTS.values(), ids=TEXTS)
def test_what_is_no_call_stays_text(answer: str, size: int) -> None:
    parts = read(answer, size)
    assert calls_of(parts) == []
    assert text_of(parts) == answer


@pytest.mark.parametrize("size", SIZES)
def test_several_calls(size: int) -> None:
    answer = f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{CALL}\n<tool_call>\n{CALL}\n</tool_call>"
    assert calls_of(read(answer, size)) == [READ] * 3
    assert calls_of(read(f"[{CALL}, {CALL}]", size)) == [READ] * 2


@pytest.mark.parametrize("size", SIZES)
def test_thinking(size: int) -> None:
    answer = f"<think>\nhm <tool_call>\n</think>\n\nYes.<tool_call>{CALL}</tool_call>"
    parts = read(answer, size)
    assert "".join(p.text for p in parts if isinstance(p, ThinkingPart)) == "hm <tool_call>"
    assert text_of(parts) == "Yes."
    assert calls_of(parts) == [READ]
    open_thought = read("hm</think>Yes.", size, thinking=True)
    assert "".join(p.text for p in open_thought if isinstance(p, ThinkingPart)) == "hm"
    assert text_of(open_thought) == "Yes."


@pytest.mark.parametrize("size", SIZES)
def test_without_tools_everything_is_text(size: int) -> None:
    for answer in (CALL, f"<tool_call>{CALL}</tool_call>", f"```json\n{CALL}\n```"):
        parts = read(answer, size, tools=())
        assert text_of(parts) == answer
        assert calls_of(parts) == []


def test_text_is_not_held_back_for_long() -> None:
    reader = Hermes().reader({"Read": {}})
    assert text_of(reader.feed("A sentence that ends")) == "A sentence that ends"
    assert text_of(reader.feed(" here <")) == " here"
    assert text_of(reader.feed("b")) == " <b"


def test_parse_calls_survives_anything() -> None:
    for body in ("", "{", "[" * 100_000, '{"name": 1, "arguments": {}}', '{"name": "x", "arguments": []}'):
        assert parse_calls(body) == []
