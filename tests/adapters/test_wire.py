"""The request body: laid out for prefix caches, the same bytes from one turn to the next."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_code.adapters.address import parse_address
from kimi_code.adapters.openai import flavour_of
from kimi_code.adapters.wire import BodyBuilder, Flavour, ModelEntry, UsagePart
from kimi_code.agent.ports import Message, Request, Sampling
from kimi_code.events import Call, Usage
from kimi_testing.asking import BASH, ask


def builder(flavour: Flavour = "template", *, progress: bool = False) -> BodyBuilder:
    return BodyBuilder("m", flavour=flavour, progress=progress)


def body(request: Request, flavour: Flavour = "template") -> dict[str, Any]:
    return msgspec.json.decode(builder(flavour).build(request))


def calling(number: int, thinking: str = "") -> Message:
    call = Call(id=f"functions.Bash:{number}", name="Bash", arguments={"command": f"echo {number}"})
    return Message(role="assistant", text="", thinking=thinking, calls=(call,))


def result(number: int) -> Message:
    return Message(role="tool", text=f"{number}\n", call_id=f"functions.Bash:{number}", name="Bash")


ANSWER = Message(role="assistant", text="It is done.", thinking="all well")


def test_what_varies_comes_last() -> None:
    sampling = Sampling(temperature=0.6, top_p=0.95, seed=1, max_tokens=99, thinking=True)
    made = body(ask("hi", calling(0), result(0), sampling=sampling))
    assert list(made) == [
        "model",
        "tools",
        "messages",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "seed",
        "max_tokens",
        "chat_template_kwargs",
    ]
    assert made["tools"][0]["function"]["name"] == "Bash"
    assert [message["role"] for message in made["messages"]] == ["system", "user", "assistant", "tool"]
    assert made["messages"][2]["tool_calls"][0] == {
        "id": "functions.Bash:0",
        "type": "function",
        "function": {"name": "Bash", "arguments": '{"command":"echo 0"}'},
    }
    assert made["messages"][3]["tool_call_id"] == "functions.Bash:0"


def test_each_turn_is_the_beginning_of_the_next() -> None:
    messages: list[Message] = []
    build = builder()
    bodies: list[bytes] = []
    for number in range(20):
        bodies.append(build.build(ask("hi", *messages)))
        messages += [calling(number, thinking="hm"), result(number)]
    for before, after in pairwise(bodies):
        assert after.startswith(before[: before.rindex(b'],"stream"')])


def test_the_defaults_send_no_switch() -> None:
    assert set(body(ask())) == {"model", "tools", "messages", "stream", "stream_options"}
    assert "tools" not in body(ask(tools=False))


@pytest.mark.parametrize(
    ("flavour", "thinking", "preserve", "expected"),
    [
        ("moonshot", True, False, {"thinking": {"type": "enabled"}}),
        ("moonshot", False, False, {"thinking": {"type": "disabled"}}),
        ("moonshot", None, True, {"thinking": {"type": "enabled", "keep": "all"}}),
        ("template", False, False, {"chat_template_kwargs": {"thinking": False, "enable_thinking": False}}),
        ("template", None, True, {"chat_template_kwargs": {"preserve_thinking": True}}),
        ("plain", True, True, {}),
    ],
)
def test_thinking_switches(flavour: Flavour, thinking: bool, preserve: bool, expected: object) -> None:
    made = body(ask(sampling=Sampling(thinking=thinking, preserve_thinking=preserve)), flavour)
    switches = {key: made[key] for key in ("thinking", "chat_template_kwargs") if key in made}
    assert switches == expected


@pytest.mark.parametrize(
    ("url", "flavour"),
    [
        ("https://api.moonshot.ai/v1", "moonshot"),
        ("https://api.moonshot.cn/v1", "moonshot"),
        ("https://api.kimi.com/coding/v1", "moonshot"),
        ("https://notmoonshot.ai/v1", "template"),
        ("http://127.0.0.1:8000/v1", "template"),
        ("https://api.openai.com/v1", "plain"),
    ],
)
def test_the_host_decides_the_flavour(url: str, flavour: str) -> None:
    assert flavour_of(parse_address(url).host) == flavour


def reasoning(request: Request) -> list[str | None]:
    return [
        message.get("reasoning_content")
        for message in body(request)["messages"]
        if message["role"] == "assistant"
    ]


def test_reasoning_is_sent_back_within_the_running_loop_only() -> None:
    loop = [calling(0, "first"), result(0), ANSWER, Message(role="user", text="more"), calling(1, "second")]
    assert reasoning(ask("hi", *loop)) == [None, None, "second"]
    keep = Sampling(preserve_thinking=True)
    assert reasoning(ask("hi", *loop, sampling=keep)) == ["first", "all well", "second"]
    steered = [calling(0, "first"), result(0), Message(role="user", text="faster"), calling(1, "second")]
    assert reasoning(ask("hi", *steered)) == ["first", "second"]


MESSAGES = st.lists(
    st.sampled_from([calling(0, "a"), calling(1, "b"), result(0), ANSWER, Message(role="user", text="u")]),
    max_size=6,
)


@given(st.lists(st.tuples(MESSAGES, st.booleans()), max_size=6))
def test_what_is_kept_between_requests_never_shows(turns: list[tuple[list[Message], bool]]) -> None:
    """Grown, shortened, rewritten: the same bytes as from a builder that has seen nothing."""
    build = builder()
    for messages, keep in turns:
        request = ask("hi", *messages, sampling=Sampling(preserve_thinking=keep))
        assert build.build(request) == builder().build(request)
        assert build.ids == {call.id for message in messages for call in message.calls}


def test_an_empty_answer_is_no_empty_message() -> None:
    assert body(ask("hi", Message(role="assistant", text="")))["messages"][-1]["content"] == "(no answer)"


def test_images(tmp_path: Path) -> None:
    image = tmp_path / "dot.png"
    image.write_bytes(b"\x89PNG")
    images = (str(image), "https://example.com/x.png", str(tmp_path / "none.png"))
    request = Request(system="", tools=(BASH,), messages=(Message(role="user", text="see", images=images),))
    parts = body(request)["messages"][0]["content"]
    assert parts[0]["image_url"]["url"] == "data:image/png;base64,iVBORw=="
    assert parts[1]["image_url"]["url"] == "https://example.com/x.png"
    assert "none.png cannot be read" in parts[2]["text"]
    assert parts[3]["text"] == "see"


def test_a_refused_field_is_given_up_once() -> None:
    build = builder()
    assert build.give_up_field("Unsupported parameter: 'max_tokens', use 'max_completion_tokens'")
    assert not build.give_up_field("Unsupported parameter: 'max_tokens'")
    made = msgspec.json.decode(build.build(ask(sampling=Sampling(max_tokens=5))))
    assert "max_tokens" not in made
    assert made["max_completion_tokens"] == 5


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens_details": {"cached_tokens": 7}},
        {"cached_tokens": 7},
        {"prompt_cache_hit_tokens": 7},
        {"prompt_tokens_details": None, "cached_tokens": 7},
        {"prompt_tokens_details": {"cached_tokens": None}, "cached_tokens": 7},
    ],
)
def test_cached_tokens_in_every_spelling(usage: dict[str, Any]) -> None:
    raw = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12} | usage
    told = msgspec.convert(raw, UsagePart).usage()
    assert told == Usage(prompt=9, cached=7, completion=3)


@pytest.mark.parametrize(
    ("entry", "context"),
    [
        ({"max_model_len": 8192}, 8192),
        ({"context_length": 262144}, 262144),
        ({"context_window": 131072}, 131072),
        ({"max_context_length": 32768, "loaded_context_length": 4096}, 4096),
        ({"meta": {"n_ctx": 16384, "n_ctx_train": 1048576}}, 16384),
        ({"meta": {"n_ctx_train": 1048576}}, None),
        ({"context_length": 0}, None),
        ({}, None),
    ],
)
def test_the_context_in_every_spelling(entry: dict[str, Any], context: int | None) -> None:
    assert msgspec.convert({"id": "m"} | entry, ModelEntry).context == context
