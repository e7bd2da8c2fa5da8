"""Call fragments as servers send them, the regular way and the others."""

from typing import Any

import msgspec
import pytest

from kimi_code.adapters.gather import MAX_ANSWER, Gathering, Offer
from kimi_code.adapters.wire import ChoicePart, MessagePart, decode_chunk
from kimi_code.agent.ports import Reply
from kimi_code.errors import Malformed
from kimi_code.events import Usage
from kimi_testing.asking import BASH

OFFER = Offer([BASH], ["call_0"])
ARGUMENTS = '{"command": "ls"}'


def gathered(*deltas: dict[str, Any], finish: str = "tool_calls") -> Reply:
    gathering = Gathering()
    for delta in deltas:
        gathering.add(msgspec.convert({"delta": delta}, ChoicePart))
    gathering.add(ChoicePart(finish_reason=finish))
    return gathering.reply(OFFER, Usage())


def part(index: int | None, identity: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    call = {"index": index, "id": identity, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [call]}


TWO = {
    "regular": [
        part(0, "a", "Bash", ""),
        part(0, None, None, ARGUMENTS[:7]),
        part(0, None, None, ARGUMENTS[7:]),
        part(1, "b", "Bash", ARGUMENTS),
    ],
    "interleaved": [
        part(0, "a", "Bash", ARGUMENTS[:5]),
        part(1, "b", "Bash", ARGUMENTS[:9]),
        part(0, None, None, ARGUMENTS[5:]),
        part(1, None, None, ARGUMENTS[9:]),
    ],
    "no index": [
        part(None, "a", "Bash", ARGUMENTS[:5]),
        part(None, None, None, ARGUMENTS[5:]),
        part(None, "b", "Bash", ARGUMENTS),
    ],
    "id in every fragment, no index": [
        part(None, "a", "Bash", ARGUMENTS[:5]),
        part(None, "b", "Bash", ARGUMENTS[:5]),
        part(None, "a", None, ARGUMENTS[5:]),
        part(None, "b", None, ARGUMENTS[5:]),
    ],
    "one index for all": [part(0, "a", "Bash", ARGUMENTS), part(0, "b", "Bash", ARGUMENTS)],
    "name repeated": [
        part(0, "a", "Bash", ""),
        part(0, "a", "Bash", ARGUMENTS),
        part(1, "b", "Bash", ARGUMENTS),
    ],
    "arguments as an object": [part(0, "a", "Bash", {"command": "ls"}), part(1, "b", "Bash", ARGUMENTS)],
    "name in pieces": [
        part(0, "a", "Ba", ""),
        part(0, None, "sh", ARGUMENTS),
        part(1, "b", "Bash", ARGUMENTS),
    ],
}


@pytest.mark.parametrize("form", TWO)
def test_two_calls(form: str) -> None:
    reply = gathered(*TWO[form])
    assert [(call.id, call.name, call.arguments) for call in reply.calls] == [
        ("a", "Bash", {"command": "ls"}),
        ("b", "Bash", {"command": "ls"}),
    ]


@pytest.mark.parametrize("identity", [None, "", "call_0"])
def test_an_id_that_is_missing_or_used_is_made_up(identity: str | None) -> None:
    reply = gathered(part(0, identity, "Bash", ARGUMENTS), part(1, identity, "Bash", ARGUMENTS))
    ids = [call.id for call in reply.calls]
    assert len(set(ids)) == 2
    assert "call_0" not in ids
    assert "" not in ids


def test_native_calls_leave_the_text_alone() -> None:
    text = '<tool_call>{"name": "Bash", "arguments": {"command": "rm"}}</tool_call>'
    reply = gathered({"content": text}, part(0, "a", "Bash", ARGUMENTS))
    assert [call.id for call in reply.calls] == ["a"]
    assert reply.text == text


def test_a_call_in_an_open_think_block() -> None:
    section = "<|tool_calls_section_begin|><|tool_call_begin|>functions.Bash:0<|tool_call_argument_begin|>"
    reply = gathered({"content": f"<think>I look.{section}{ARGUMENTS}<|tool_call_end|>"}, finish="stop")
    assert reply.calls[0].arguments == {"command": "ls"}
    assert (reply.thinking, reply.text, reply.finish) == ("I look.", "", "calls")


def test_a_call_only_thought_about_is_no_call() -> None:
    thought = f'<tool_call>{{"name": "Bash", "arguments": {ARGUMENTS}}}</tool_call>'
    reply = gathered({"reasoning_content": thought}, {"content": "I will not."}, finish="stop")
    assert reply.calls == ()


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_both_names_of_the_reasoning(name: str) -> None:
    reply = gathered({name: "hm"}, {"content": "ok"}, finish="stop")
    assert (reply.thinking, reply.text, reply.finish) == ("hm", "ok", "stop")


def test_a_refusal_is_text() -> None:
    assert gathered({"refusal": "I will not."}, finish="stop").text == "I will not."


def test_an_answer_without_an_end_is_stopped() -> None:
    gathering = Gathering()
    piece = ChoicePart(delta=MessagePart(content="x" * (MAX_ANSWER // 4)))
    with pytest.raises(Malformed):
        [gathering.add(piece) for _ in range(5)]


@pytest.mark.parametrize(
    "chunk",
    [
        b"{}",
        b'{"choices": null}',
        b'{"choices": [{"index": null, "delta": null}], "usage": null, "error": null}',
        b'{"choices": [{"delta": {"content": null, "tool_calls": null, "role": "assistant"}}]}',
        b'{"type": "ping"}',
        b'{"choices": [{"delta": {"tool_calls": [{}]}, "logprobs": {"content": []}}]}',
        b'{"usage": {"prompt_tokens": 3.0, "completion_tokens": null}}',
    ],
)
def test_sparse_chunks_are_read(chunk: bytes) -> None:
    gathering = Gathering()
    for choice in decode_chunk(chunk).choices or ():
        gathering.add(choice)
    assert gathering.finish is None
