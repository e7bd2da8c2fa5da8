"""Calls written as text: found where they are meant, and nowhere else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_code.adapters.textcalls import find_calls
from kimi_testing.script import ScriptedCall, WrittenAs, written_text

TOOLS = {"Bash": {"command"}, "Read": {"path"}}
OBJECT = '{"name": "Bash", "arguments": {"command": "ls"}}'
SECTION = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.Bash:3<|tool_call_argument_begin|>"
    '{"command": "ls"}<|tool_call_end|><|tool_calls_section_end|>'
)
LS: dict[str, Any] = {"command": "ls"}

FOUND = {
    "hermes": f"<tool_call>\n{OBJECT}\n</tool_call>",
    "indented": f"  <tool_call>{OBJECT}</tool_call>  \n\n",
    "unclosed tag": f"<tool_call>\n{OBJECT}",
    "near JSON": "<tool_call>{'name': 'Bash', 'arguments': {'command': 'ls',}}</tool_call>",
    "qwen3-coder": "<tool_call>\n<function=Bash>\n<parameter=command>\nls\n"
    "</parameter>\n</function>\n</tool_call>",
    "bare function": "<function=Bash>\n<parameter=command>ls</parameter>\n</function>",
    "llama function": '<function=Bash>{"command": "ls"}</function>',
    "kimi": SECTION,
    "kimi without a section": SECTION.replace("<|tool_calls_section_begin|>", ""),
    "kimi singular section": SECTION.replace("tool_calls_section", "tool_call_section"),
    "kimi without its end": SECTION.replace("<|tool_calls_section_end|>", ""),
    "kimi without functions.": SECTION.replace("functions.", ""),
    "fenced": f"```json\n{OBJECT}\n```",
    "fenced plainly": f"```\n{OBJECT}\n```\n",
    "bare": OBJECT,
    "list": f"[{OBJECT}]",
    "parameters": OBJECT.replace("arguments", "parameters"),
    "arguments as text": '{"name": "Bash", "arguments": "{\\"command\\": \\"ls\\"}"}',
    "nested": f'{{"type": "function", "function": {OBJECT}}}',
}

NOT_CALLS = {
    "in a sentence": f"To list write <tool_call>{OBJECT}</tool_call>",
    "quoted": f"> <tool_call>{OBJECT}</tool_call>",
    "text after": f"<tool_call>{OBJECT}</tool_call>\nThis lists the files.",
    "in a fence": f"Like this:\n```\n<tool_call>{OBJECT}</tool_call>\n```",
    "in an open fence": f"Like this:\n```\n<tool_call>{OBJECT}</tool_call>",
    "kimi in a fence": f"```\n{SECTION}\n```",
    "kimi, text after": SECTION + " and then",
    "kimi, cut": SECTION[: SECTION.index("<|tool_call_end|>")],
    "fence in the middle": f"```json\n{OBJECT}\n```\nThat is how.",
    "inline code": f"`{OBJECT}`",
    "a fence in a fence": f"````\n```json\n{OBJECT}\n```",
    "unknown tool": OBJECT.replace("Bash", "Delete"),
    "unknown function": "<function=Delete>{}</function>",
    "kimi, unknown": SECTION.replace("Bash", "Delete"),
    "more keys": OBJECT[:-1] + ', "result": 1}',
    "no arguments": '{"name": "Bash"}',
    "cut": f"<tool_call>{OBJECT[:-2]}",
    "other JSON": '{"name": "Bash", "version": {"major": 5}}',
    "one of two unknown": f"<tool_call>{OBJECT}</tool_call>"
    f"<tool_call>{OBJECT.replace('Bash', 'X')}</tool_call>",
    "python fence": f"```python\n{OBJECT}\n```",
}


@pytest.mark.parametrize("form", FOUND)
@pytest.mark.parametrize("before", ["", "I will look.\n"])
def test_found(form: str, before: str) -> None:
    if before and form in ("bare", "list", "parameters", "arguments as text", "nested"):
        before = ""
    rest, calls = find_calls(before + FOUND[form], TOOLS)
    assert [(call.name, call.arguments) for call in calls] == [("Bash", LS)]
    assert rest == before.strip()
    assert calls[0].id == (
        "" if "kimi" not in form else "Bash:3" if "without f" in form else "functions.Bash:3"
    )


@pytest.mark.parametrize("form", NOT_CALLS)
def test_not_a_call(form: str) -> None:
    assert find_calls(NOT_CALLS[form], TOOLS) == (NOT_CALLS[form], [])


def test_no_tools_no_calls() -> None:
    assert find_calls(FOUND["hermes"], {}) == (FOUND["hermes"], [])


def test_several() -> None:
    _, calls = find_calls(f"So:\n<tool_call>{OBJECT}</tool_call>\n<tool_call>{OBJECT}</tool_call>", TOOLS)
    assert len(calls) == 2


def test_parameters_that_are_text_stay_text() -> None:
    body = "<function=Bash><parameter=command>\n42\n</parameter><parameter=timeout>7</parameter></function>"
    assert find_calls(body, TOOLS)[1][0].arguments == {"command": "42", "timeout": 7}


@pytest.mark.parametrize(
    "hostile",
    [
        "<tool_call>" * 50_000,
        "<function=Bash>" * 50_000,
        "<function=Bash>" + "<parameter=a></parameter>" * 50_000 + "</function>",
        "<|tool_call_begin|>" * 50_000,
        "```\n" * 50_000,
        "[" * 500_000,
        '{"name":' * 100_000,
        "\n" * 500_000 + "<tool_call>",
        " " * 500_000 + "<tool_call>",
    ],
    ids=range(9),
)
def test_p12_hostile_texts_end(hostile: str) -> None:
    """A quadratic search would take minutes here and run into the guard of the test run."""
    assert find_calls(hostile, TOOLS)[1] == []


def test_a_parameter_given_twice_is_no_call() -> None:
    twice = "<parameter=command>ls</parameter>" * 2
    assert find_calls(f"<function=Bash>{twice}</function>", TOOLS)[1] == []


PIECES = [
    "<tool_call>",
    "</tool_call>",
    OBJECT,
    OBJECT[:20],
    "<function=Bash>",
    "</function>",
    "<parameter=command>",
    "</parameter>",
    "```json\n",
    "```",
    "\n",
    " ",
    "x",
    "{",
    "}",
    SECTION,
    "<|tool_call_begin|>",
    "<|tool_call_end|>",
    "<|tool_call_argument_begin|>",
    "functions.Bash:0",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=14).map("".join))
def test_p12_any_text(text: str) -> None:
    rest, calls = find_calls(text, TOOLS)
    assert text.startswith(rest.rstrip()) or not calls
    assert (rest == text) == (not calls) or not text.strip()
    assert {call.name for call in calls} <= set(TOOLS)


FORMS: list[WrittenAs] = ["tool_call", "fenced", "kimi", "bare"]


@given(
    st.sampled_from(FORMS),
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20) | st.integers(-9, 9), max_size=3),
)
def test_p12_what_was_written_is_what_is_read(form: WrittenAs, arguments: dict[str, Any]) -> None:
    marks = ("```", "<", "|")
    if any(mark in str(text) for pair in arguments.items() for text in pair for mark in marks):
        return
    text = written_text("", [ScriptedCall(name="Bash", arguments=arguments)], form)
    assert [call.arguments for call in find_calls(text, TOOLS)[1]] == [arguments]
