"""From a request to a prompt, with a template in the manner of Kimi's, and what hostile requests come to."""

import json
from collections.abc import Generator
from typing import Any

import pytest

from kimi_runtime.chat import Answer, Chat
from kimi_runtime.dialects.kimi import Kimi
from kimi_runtime.faults import BadRequest
from kimi_runtime.grammar import CallGrammars
from kimi_runtime.job import Text
from kimi_runtime.template import Prompter
from kimi_runtime.vocabulary import Vocabulary
from kimi_runtime.wire import MAX_TOOLS, decode

TEMPLATE = """\
{%- for m in messages %}
    {{- m.role ~ ': ' ~ m.content }}
    {%- if m.role == 'tool' %}{{- ' ## Return of ' ~ m.tool_call_id }}{%- endif %}
    {%- for c in m.tool_calls or [] %}{{- '<|tool_call_begin|>' ~ c.id }}{%- endfor %}
    {{- '\\n' }}
{%- endfor %}
{{- '<think>' if thinking is not defined or thinking else '<think></think>' }}
"""
HELLO = [{"role": "user", "content": "hello"}]


def tool(name: str = "Read", **parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", **parameters}}}


@pytest.fixture
def chat(vocabulary: Vocabulary) -> Generator[Chat]:
    prompter = Prompter(vocabulary, TEMPLATE)
    dialect = Kimi()
    yield Chat(vocabulary, prompter, dialect, CallGrammars(vocabulary, dialect))
    prompter.close()


def body(**fields: Any) -> bytes:
    return json.dumps({"messages": HELLO, **fields}).encode()


def test_ids_go_on_where_the_conversation_is(chat: Chat, vocabulary: Vocabulary) -> None:
    function = {"name": "Read", "arguments": "{}"}
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_x", "function": function}]},
        {"role": "tool", "tool_call_id": "call_x", "content": "ok"},
    ]
    prepared = chat.prepare(decode(body(messages=messages, tools=[tool()])))
    prompt = vocabulary.decode(prepared.order.prompt)
    assert "<|tool_call_begin|>functions.Read:0\n" in prompt
    assert "## Return of functions.Read:0" in prompt
    answer = Answer(0, prepared.reader())
    said = "hm</think><|tool_call_begin|>functions.Read:7<|tool_call_argument_begin|>{}<|tool_call_end|>"
    answer.feed(Text(index=0, text=said))
    assert [call["id"] for call in answer.calls] == ["functions.Read:1"]
    assert answer.thinking == "hm"


def test_a_prompt_says_whether_a_thought_is_open(chat: Chat) -> None:
    for fields, thought in (({}, "x"), ({"thinking": {"type": "disabled"}}, "")):
        prepared = chat.prepare(decode(body(**fields)))
        answer = Answer(0, prepared.reader())
        answer.feed(Text(index=0, text="x"))
        assert answer.thinking == thought


def nested(levels: int) -> Any:
    value: Any = {"type": "string"}
    for _ in range(levels):
        value = {"type": "object", "properties": {"a": value}}
    return value


def test_j09_hostile_requests_are_refused(chat: Chat) -> None:
    refused = [
        body(tools=[tool(properties={"a": nested(200)})]),
        b'{"messages": [{"role": "user", "content": ' + b"[" * 50_000 + b"]" * 50_000 + b"}]}",
        body(tools=[tool(f"t{number}") for number in range(MAX_TOOLS + 1)]),
        body(tools=[tool(properties={"a": {"enum": [f"choice {number}" for number in range(300_000)]}})]),
        body(tool_choice="required"),
        body(tools=[tool()], tool_choice={"type": "function", "function": {"name": "No"}}),
    ]
    for hostile in refused:
        with pytest.raises(BadRequest):
            chat.prepare(decode(hostile))


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"a": {"enum": [f"choice {number}" for number in range(100_000)]}}},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"$ref": "#"},
        {"properties": {f"p{number}": {"type": "string"} for number in range(5000)}},
        {"properties": {"a": nested(50)}},
        {"properties": "x", "required": 7},
        {"properties": {"a": {"type": "string", "pattern": "(a+)+$" * 50}}},
        {"properties": {"a": {"type": "string", "pattern": "("}}},
        {"properties": {"a": {"type": "array", "items": {}, "minItems": 10**9}}},
    ],
    ids=["enum", "self", "root", "wide", "deep", "nonsense", "pattern", "no pattern", "endless list"],
)
def test_j09_hostile_schemas_are_bounded(chat: Chat, parameters: dict[str, Any]) -> None:
    prepared = chat.prepare(decode(body(tools=[tool(**parameters)], tool_choice="required")))
    assert prepared.order.constraint is not None
    assert prepared.order.constraint() is not None
