"""Which family a model belongs to, and what its templates get to see of a conversation."""

from typing import Any

import pytest

from kimi_runtime.dialects import detect
from kimi_runtime.dialects.deepseek import DeepSeek
from kimi_runtime.dialects.glm import Glm
from kimi_runtime.dialects.harmony import Harmony
from kimi_runtime.dialects.kimi import Kimi
from kimi_runtime.dialects.llama3 import Llama3
from kimi_runtime.dialects.mistral import Mistral
from kimi_runtime.template import arguments_as_text

# Small templates that write calls as the families' own do.
TEMPLATES = {
    "kimi": "{{ '<|tool_calls_section_begin|><|tool_call_begin|>' ~ c.id ~ '<|tool_call_argument_begin|>' }}",
    "hermes": "{{ '<tool_call>\\n' ~ (c.function | tojson) ~ '\\n</tool_call>' }}",
    "qwen-xml": "{{ '<tool_call>\\n<function=' ~ n ~ '>\\n' }}{{ '<parameter=' ~ k ~ '>\\n' ~ v }}",
    "harmony": "{{ '<|start|>assistant<|channel|>commentary to=functions.' ~ n ~ '<|message|>' }}",
    "deepseek": "{{ '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>' + n + '```json' }}",
    "glm": "<tool_call>{{ n }}\n<arg_key>{{ k }}</arg_key>\n<arg_value>{{ v }}</arg_value>\n</tool_call>",
    "mistral": "{{ '[TOOL_CALLS] [' ~ (c.function | tojson) ~ ']' }}",
    "llama3": "<|start_header_id|>assistant<|end_header_id|>{{ '{\"name\": ' }}",
}


@pytest.mark.parametrize(("name", "template"), TEMPLATES.items(), ids=TEMPLATES)
def test_a_family_is_known_by_its_template(name: str, template: str) -> None:
    assert detect(template, []).name == name


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("kimi", ["<|tool_calls_section_begin|>", "<|im_end|>"]),
        ("harmony", ["<|channel|>", "<|message|>", "<|constrain|>"]),
        ("deepseek", ["<｜tool▁calls▁begin｜>"]),
        ("glm", ["<arg_key>", "<tool_call>"]),
        ("hermes", ["<tool_call>"]),
        ("mistral", ["[TOOL_CALLS]"]),
        ("llama3", ["<|python_tag|>"]),
        ("hermes", []),
    ],
)
def test_without_a_template_by_its_tokens(name: str, tokens: list[str]) -> None:
    assert detect("", tokens).name == name


def test_a_template_counts_more_than_tokens() -> None:
    """Models are trained further in another family's format and keep the vocabulary."""
    assert detect(TEMPLATES["hermes"], ["<|python_tag|>"]).name == "hermes"


def test_variants() -> None:
    newer = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{{ n }}<｜tool▁sep｜>"
    assert [_fenced(TEMPLATES["deepseek"]), _fenced(newer)] == [True, False]
    found = detect("<arg_key>{{ k }}</arg_key><arg_value>{{ v }}</arg_value>", [])
    assert isinstance(found, Glm)
    assert found.between == ""
    found = detect(TEMPLATES["glm"], [])
    assert isinstance(found, Glm)
    assert found.between == "\n"
    found = detect("{{ '[TOOL_CALLS]' ~ n ~ '[ARGS]' ~ a }}", [])
    assert isinstance(found, Mistral)
    assert found.named


def _fenced(template: str) -> bool:
    found = detect(template, [])
    assert isinstance(found, DeepSeek)
    return found.fenced


def test_arguments_are_text_where_templates_join_them() -> None:
    assert arguments_as_text("{{ '```json\\n' + tool['function']['arguments'] + '\\n```' }}")
    assert not arguments_as_text("{{ call.arguments | tojson }}")
    assert not arguments_as_text("{% if c['arguments'] is string %}{{ '' + c['arguments'] + '' }}{% endif %}")
    assert not arguments_as_text("")


def call(identifier: str, name: str = "Read") -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": {}}}


def said(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": "x", "tool_calls": list(calls)}


def result(identifier: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identifier, "content": text}


def ids(messages: list[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    for message in messages:
        calls: list[dict[str, Any]] = message.get("tool_calls") or []
        found += [one["id"] for one in calls]
        if "tool_call_id" in message:
            found.append(f"-> {message['tool_call_id']} {message['content']}")
    return found


def test_kimi_ids_are_counted_over_the_conversation() -> None:
    messages = [
        said(call("call_b"), call("call_a", "Bash")),
        result("call_a", "A"),
        result("call_b", "B"),
        said(call("functions.Read:0")),
        result("functions.Read:0", "C"),
    ]
    before = [dict(message) for message in messages]
    assert ids(Kimi().replay(messages)) == [
        "functions.Read:0",
        "functions.Bash:1",
        "-> functions.Bash:1 A",
        "-> functions.Read:0 B",
        "functions.Read:2",
        "-> functions.Read:2 C",
    ]
    assert messages == before


def test_results_without_a_known_id_go_to_the_next_call() -> None:
    messages = [said(call("a"), call("b")), result("?", "A"), result("??", "B"), result("more", "C")]
    assert ids(Kimi().replay(messages))[2:] == [
        "-> functions.Read:0 A",
        "-> functions.Read:1 B",
        "-> more C",
    ]


def test_mistral_ids_are_nine_digits() -> None:
    messages = [said(call("call_abc")), result("call_abc", "A")]
    assert ids(Mistral(named=False).replay(messages)) == ["000000000", "-> 000000000 A"]


def test_llama_sees_one_call_a_message() -> None:
    messages = [
        said(call("a"), call("b")),
        result("a", "A"),
        result("b", "B"),
        {"role": "user", "content": "u"},
    ]
    replayed = Llama3().replay(messages)
    assert [message["role"] for message in replayed] == ["assistant", "tool", "assistant", "tool", "user"]
    assert ids(replayed) == ["a", "-> a A", "b", "-> b B"]
    assert [message["content"] for message in replayed if "tool_calls" in message] == ["x", ""]


def test_deepseek_calls_alone_have_no_content() -> None:
    alone = {**said(call("a")), "content": ""}
    replayed = DeepSeek(fenced=True).replay([alone, said(call("b")), {"role": "user", "content": ""}])
    assert [message["content"] for message in replayed] == [None, "x", ""]


def test_harmony_thoughts_have_another_name() -> None:
    message = {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [call("a")]}
    assert Harmony().replay([message])[0]["thinking"] == "hm"
