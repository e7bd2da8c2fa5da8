"""A scripted server through the adapter: what comes out for what went in."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from kimi_code.adapters.endpoint import Silence
from kimi_code.adapters.openai import UNKNOWN_CONTEXT, OpenAIModel
from kimi_code.agent.ports import Delta, Message, Reply, Sampling
from kimi_code.errors import Refused
from kimi_code.events import Usage
from kimi_testing.asking import ask, collect, reply_of
from kimi_testing.clock import FakeClock
from kimi_testing.script import (
    Fault,
    FaultKind,
    Script,
    ScriptedCall,
    ScriptedReply,
    ScriptedUsage,
    WrittenAs,
)
from kimi_testing.server import ScriptedServer

Serve = Callable[..., Awaitable[tuple[ScriptedServer, OpenAIModel]]]
LS = ScriptedCall(name="Bash", arguments={"command": "ls -la /somewhere/else", "timeout": 5})


async def test_a_whole_answer(serve: Serve) -> None:
    usage = ScriptedUsage(prompt=100, cached=80, completion=20, thinking=7)
    sent = ScriptedReply(text="I look around.", thinking="Where?", calls=[LS, LS], usage=usage, pieces=3)
    _, model = await serve(sent)
    chunks = await collect(model)
    reply = chunks[-1]
    assert isinstance(reply, Reply)
    deltas = [chunk for chunk in chunks if isinstance(chunk, Delta)]
    assert "".join(delta.text for delta in deltas) == reply.text == "I look around."
    assert "".join(delta.thinking for delta in deltas) == reply.thinking == "Where?"
    assert [call.arguments for call in reply.calls] == [LS.arguments] * 2
    assert len({call.id for call in reply.calls}) == 2
    assert reply.usage == Usage(prompt=100, cached=80, completion=20, thinking=7)
    assert reply.finish == "calls"


@pytest.mark.parametrize("kind", ["crlf", "cr", "bom", "comments", "split", "drip", "huge"])
async def test_unkind_but_legal_streams(kind: FaultKind, serve: Serve) -> None:
    sent = ScriptedReply(text="häßlich 😀 text", thinking="ü", calls=[LS], pieces=2)
    fault = Fault(kind=kind, size=3 << 20)
    sent = ScriptedReply(text=sent.text, thinking="ü", calls=[LS], pieces=2, fault=fault)
    _, model = await serve(sent)
    reply = await reply_of(model)
    assert reply.text.startswith("häßlich 😀 text")
    assert (len(reply.text) >= 3 << 20) == (kind == "huge")
    assert reply.thinking == "ü"
    assert [call.arguments for call in reply.calls] == [LS.arguments]


@pytest.mark.parametrize("form", ["tool_call", "fenced", "kimi", "function", "bare"])
async def test_calls_written_as_text(form: WrittenAs, serve: Serve) -> None:
    text = "" if form == "bare" else "I look."
    _, model = await serve(ScriptedReply(text=text, calls=[LS], written_as=form))
    reply = await reply_of(model)
    assert [(call.name, call.arguments) for call in reply.calls] == [("Bash", LS.arguments)]
    assert reply.calls[0].id
    assert reply.text == text
    assert reply.finish == "calls"


async def test_text_calls_need_a_tool_that_was_offered(serve: Serve) -> None:
    _, model = await serve(ScriptedReply(text="I look.", calls=[LS], written_as="tool_call"))
    reply = await reply_of(model, ask(tools=False))
    assert reply.calls == ()
    assert "<tool_call>" in reply.text


async def test_a_think_block_in_the_text_is_thinking(serve: Serve) -> None:
    _, model = await serve(ScriptedReply(text="<think>first\nthis</think>\n\nthen that", pieces=3))
    chunks = await collect(model)
    reply = chunks[-1]
    assert isinstance(reply, Reply)
    assert (reply.thinking, reply.text) == ("first\nthis", "then that")
    shown = "".join(chunk.text for chunk in chunks if isinstance(chunk, Delta))
    assert shown == "then that"


@pytest.mark.parametrize(
    ("text", "thinking", "said"),
    [
        ("<think>only", "only", ""),
        ("<thin", "", "<thin"),
        ("a <think>b</think>", "", "a <think>b</think>"),
        ("<think></think>x", "", "x"),
        ("<think>a</thi", "a</thi", ""),
    ],
)
async def test_think_blocks_at_their_edges(text: str, thinking: str, said: str, serve: Serve) -> None:
    _, model = await serve(ScriptedReply(text=text, pieces=1))
    reply = await reply_of(model)
    assert (reply.thinking, reply.text) == (thinking, said)


async def test_call_ids_stay_unique_in_a_conversation(serve: Serve) -> None:
    def kimi(number: int) -> ScriptedReply:
        call = ScriptedCall(id=f"functions.Bash:{number}", name="Bash", arguments={})
        return ScriptedReply(calls=[call])

    _, model = await serve(kimi(0), kimi(0))
    first = (await reply_of(model)).calls[0]
    assert first.id == "functions.Bash:0"
    history = [
        Message(role="assistant", text="", calls=(first,)),
        Message(role="tool", text="", call_id=first.id, name="Bash"),
    ]
    assert (await reply_of(model, ask("hi", *history))).calls[0].id == "functions.Bash:1"


async def test_length_is_told(serve: Serve) -> None:
    _, model = await serve(ScriptedReply(text="and so", finish="length"))
    assert (await reply_of(model)).finish == "length"


async def test_a_server_that_does_not_stream(serve: Serve) -> None:
    """Asked for a stream, some gateways answer with one JSON object."""

    class Whole(ScriptedServer):
        def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes):
            return super()._answer(method, path, headers, body.replace(b'"stream":true', b'"stream":false'))

    sent = ScriptedReply(text="all at once", thinking="hm", calls=[LS])
    async with Whole(Script(replies=[sent])) as server:
        model = OpenAIModel(server.url, "scripted")
        reply = await reply_of(model)
        await model.close()
    assert (reply.text, reply.thinking, reply.calls[0].arguments) == ("all at once", "hm", LS.arguments)
    assert reply.usage.prompt > 0


# ---------------------------------------------------------------- open


@pytest.mark.parametrize("spelling", ["vllm", "llama", "moonshot"])
async def test_the_server_says_its_context(spelling: str, serve: Serve) -> None:
    server, model = await serve(context=12345, spelling=spelling)
    info = await model.open()
    assert (info.name, info.context, info.local) == ("scripted", 12345, False)
    await model.open()
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("configured", "spelling", "expected"),
    [(None, "none", UNKNOWN_CONTEXT), (5000, "none", 5000), (5000, "vllm", 5000), (99999, "vllm", 8192)],
)
async def test_the_lower_of_configured_and_real(
    configured: int | None, spelling: str, expected: int, clock: FakeClock
) -> None:
    async with ScriptedServer(Script(context=8192, spelling=spelling)) as server:  # type: ignore[arg-type]
        model = OpenAIModel(server.url, "scripted", context=configured, clock=clock)
        assert (await model.open()).context == expected
        await model.close()


async def test_a_server_that_is_away_is_asked_again_later(clock: FakeClock) -> None:
    script = Script(context=4096)
    async with ScriptedServer(script) as first:
        port = int(first.url.split(":")[2].split("/")[0])
    model = OpenAIModel(first.url, "scripted", clock=clock)
    assert (await model.open()).context == UNKNOWN_CONTEXT
    async with ScriptedServer(script, port=port):
        assert (await model.open()).context == 4096
        await model.close()


async def test_no_name_means_the_first_model(clock: FakeClock) -> None:
    async with ScriptedServer(Script(model="the-only-one")) as server:
        model = OpenAIModel(server.url, "", clock=clock)
        await collect(model)
        assert (await model.open()).name == "the-only-one"
        await model.close()
        assert server.chats[0].json()["model"] == "the-only-one"


async def test_llama_server_is_asked_for_progress(serve: Serve) -> None:
    server, model = await serve(ScriptedReply(text="x"), ScriptedReply(text="x"), spelling="llama")
    await collect(model)
    await model.open()
    await collect(model)
    assert ["return_progress" in seen.json() for seen in server.chats] == [False, True]


# ---------------------------------------------------------------- several answers


async def test_samples_come_from_one_request(serve: Serve) -> None:
    choices = [ScriptedReply(text=letter * size) for letter, size in (("a", 300), ("b", 3), ("c", 90))]
    server, model = await serve(ScriptedReply(choices=choices, usage=ScriptedUsage(prompt=9, completion=5)))
    replies = [reply async for reply in model.sample(ask(), 3)]
    assert [reply.text[0] for reply in replies] == ["b", "c", "a"]
    assert [reply.usage.completion for reply in replies] == [0, 0, 5]
    assert [seen.json()["n"] for seen in server.chats] == [3]


async def test_a_server_that_refuses_n_is_asked_singly(clock: FakeClock) -> None:
    def answer(body: dict[str, object]) -> ScriptedReply:
        if "n" in body:
            return ScriptedReply(fault=Fault(kind="status", status=400, body="only one choice is allowed"))
        return ScriptedReply(text=str(body.get("seed")))

    async with ScriptedServer(answer) as server:
        model = OpenAIModel(server.url, "scripted", clock=clock)
        request = ask(sampling=Sampling(seed=10))
        texts = sorted([reply.text async for reply in model.sample(request, 3)])
        again = [reply.text async for reply in model.sample(request, 2)]
        await model.close()
    assert texts == ["10", "11", "12"]
    assert len(again) == 2
    assert sum("n" in seen.json() for seen in server.chats) == 1


async def test_a_server_that_ignores_n_is_asked_for_the_rest(clock: FakeClock) -> None:
    class Ignores(ScriptedServer):
        def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes):
            return super()._answer(method, path, headers, body.replace(b'"n":4', b'"x":4'))

    script = Script(replies=[ScriptedReply(text=letter) for letter in "abcd"])
    async with Ignores(script) as server:
        model = OpenAIModel(server.url, "scripted", clock=clock)
        texts = sorted([reply.text async for reply in model.sample(ask(), 4)])
        await model.close()
    assert texts == ["a", "b", "c", "d"]


async def test_samples_that_were_told_are_not_asked_for_again(serve: Serve) -> None:
    choices = [ScriptedReply(text="a"), ScriptedReply(text="b" * 600)]
    cut = ScriptedReply(choices=choices, fault=Fault(kind="reset", after=9))
    server, model = await serve(cut, ScriptedReply(text="c"))
    assert [reply.text async for reply in model.sample(ask(), 2)] == ["a", "c"]
    assert ["n" in seen.json() for seen in server.chats] == [True, False]


async def test_a_refusal_of_every_kind_ends_sampling(serve: Serve) -> None:
    _, model = await serve(script=Script(then="fail"))
    with pytest.raises(Refused):
        await anext(model.sample(ask(), 3))


async def test_closing_a_sample_ends_the_rest(clock: FakeClock) -> None:
    slow = ScriptedReply(text="x" * 5000, fault=Fault(kind="drip", seconds=0.01), pieces=1)
    script = Script(
        faults=[Fault(kind="status", status=400)], replies=[ScriptedReply(text="quick"), slow, slow]
    )
    async with ScriptedServer(script) as server:
        model = OpenAIModel(server.url, "scripted", clock=clock)
        samples = model.sample(ask(), 3)
        async with asyncio.timeout(20):
            assert (await anext(samples)).text == "quick"
            await samples.aclose()
            await model.close()
        assert len(server.chats) == 4


# ---------------------------------------------------------------- many requests


async def test_a_soak_of_200_requests_holds_no_memory() -> None:
    """Answers of 100 kB with every sort of trouble in between: nothing of them may stay."""
    trouble: list[Fault | None] = [
        None,
        Fault(kind="cut", after=5),
        Fault(kind="reset", after=5),
        Fault(kind="bad_json"),
        Fault(kind="status", status=503),
        Fault(kind="stale"),
    ]
    script = Script(
        replies=[ScriptedReply(text="y" * 100_000, calls=[LS], pieces=5000)],
        faults=trouble * 80,
        then="repeat_last",
    )
    async with ScriptedServer(script) as server:
        model = OpenAIModel(server.url, "scripted", clock=FakeClock())
        held: list[int] = []
        tracemalloc.start()
        for _ in range(4):
            for _ in range(50):
                assert len((await reply_of(model)).text) == 100_000
            server.seen.clear()
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        await model.close()
    assert held[3] - held[1] < 200_000


async def test_many_at_once(serve: Serve) -> None:
    script = Script(replies=[ScriptedReply(text="x", delay_s=0.05)], then="repeat_last")
    server, model = await serve(script=script)
    async with asyncio.timeout(30):
        replies = await asyncio.gather(*(reply_of(model) for _ in range(100)))
    assert [reply.text for reply in replies] == ["x"] * 100
    assert server.accepted > 50


async def test_silence_is_chosen_by_how_near_the_server_is() -> None:
    assert OpenAIModel("http://127.0.0.1:1/v1", "m").silence.first > 600
    assert OpenAIModel("https://api.moonshot.ai/v1", "m").silence.first == 300
    assert OpenAIModel("http://r/v1", "m", uds="/x").silence == Silence(first=60, between=60)
