"""What goes wrong between us and a server, by the ids of the fault list: real servers on loopback."""

import asyncio
import email.utils
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kimi_code.adapters.address import parse_address
from kimi_code.adapters.openai import OpenAIModel
from kimi_code.agent.ports import Chunk, Delta, Message, Reply
from kimi_code.errors import ContextOverflow, KimiError, Malformed, Refused, Unreachable, UsageError
from kimi_testing.asking import ask, collect, reply_of, retries_in
from kimi_testing.clock import FakeClock
from kimi_testing.script import Fault, FaultKind, Script, ScriptedCall, ScriptedReply, Wording
from kimi_testing.server import ScriptedServer

Serve = Callable[..., Awaitable[tuple[ScriptedServer, OpenAIModel]]]
HELLO = ScriptedReply(text="Hello there, this answer has several pieces to it.", pieces=8)
CALLING = ScriptedReply(
    text="I look.", calls=[ScriptedCall(name="Bash", arguments={"command": "rm -rf build"})], pieces=5
)


@pytest.fixture(params=["direct", "hosted"])
def carrier(request: pytest.FixtureRequest) -> str:
    """Every fault with both clients."""
    return request.param


def failing(kind: FaultKind, reply: ScriptedReply = HELLO, **fields: int | float | str) -> ScriptedReply:
    fault = Fault(kind=kind, **fields)  # type: ignore[arg-type]
    return ScriptedReply(text=reply.text, calls=reply.calls, pieces=reply.pieces, fault=fault)


def status(code: int, **fields: str) -> ScriptedReply:
    return ScriptedReply(fault=Fault(kind="status", status=code, **fields))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---------------------------------------------------------------- P01 refused, reset, no DNS


async def test_p01_a_refused_connection_is_retried_and_ends_within_the_budget(clock: FakeClock) -> None:
    model = OpenAIModel(f"http://127.0.0.1:{free_port()}/v1", "m", clock=clock)
    told: list[Chunk] = []
    with pytest.raises(Unreachable) as caught:
        await collect(model, into=told)
    assert len(retries_in(told)) == len(told) == len(clock.slept) >= 4
    assert sum(clock.slept) <= 20
    assert "cannot be reached" in caught.value.message
    assert "refused" in caught.value.message
    assert "KIMI_BASE_URL" in caught.value.hint


async def test_p01_delays_grow_and_are_jittered(clock: FakeClock) -> None:
    delays: list[list[float]] = []
    for _ in range(2):
        clock.slept.clear()
        model = OpenAIModel(f"http://127.0.0.1:{free_port()}/v1", "m", clock=clock)
        with pytest.raises(Unreachable):
            await collect(model)
        delays.append(list(clock.slept))
    assert delays[0][0] <= 0.5 < delays[0][3]
    assert delays[0] != delays[1]


async def test_p01_a_server_that_comes_up_meanwhile_is_reached() -> None:
    port = free_port()

    class StartsServer(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if len(self.slept) == 2:
                await server.__aenter__()

    server = ScriptedServer(Script(replies=[HELLO]), port=port)
    model = OpenAIModel(f"http://127.0.0.1:{port}/v1", "m", clock=StartsServer())
    chunks = await collect(model)
    await model.close()
    await server.__aexit__(None, None, None)
    assert len(retries_in(chunks)) == 2
    assert isinstance(chunks[-1], Reply)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_p01_a_name_that_cannot_be_resolved(scheme: str, clock: FakeClock) -> None:
    model = OpenAIModel(f"{scheme}://no-such-host.invalid/v1", "m", clock=clock)
    with pytest.raises(Unreachable) as caught:
        await collect(model)
    await model.close()
    assert "name cannot be resolved" in caught.value.message


async def test_p01_a_missing_socket(tmp_path: Path, clock: FakeClock) -> None:
    model = OpenAIModel("http://runtime/v1", "m", uds=str(tmp_path / "none.sock"), clock=clock)
    with pytest.raises(Unreachable) as caught:
        await collect(model)
    assert "none.sock" in caught.value.message


@pytest.mark.parametrize("kind", ["drop", "close", "reset"])
async def test_p01_a_dying_connection_is_retried(kind: FaultKind, serve: Serve) -> None:
    server, model = await serve(failing(kind, after=3), HELLO)
    chunks = await collect(model)
    assert len(retries_in(chunks)) == 1
    assert chunks[-1] == Reply(text=HELLO.text, usage=chunks[-1].usage)  # type: ignore[union-attr]
    assert len(server.chats) == 2


async def test_p01_a_connection_that_dies_every_time_ends(serve: Serve) -> None:
    server, model = await serve(*[failing("reset", after=2)] * 9)
    with pytest.raises(Unreachable):
        await collect(model)
    assert len(server.chats) == 5


# ---------------------------------------------------------------- P02 statuses


async def test_p02_retry_after_in_seconds(serve: Serve, clock: FakeClock) -> None:
    _, model = await serve(status(429, retry_after="7"), HELLO)
    chunks = await collect(model)
    assert clock.slept == [7.0]
    assert retries_in(chunks)[0].delay_s == 7.0
    assert "429" in retries_in(chunks)[0].error


async def test_p02_retry_after_as_a_date(serve: Serve, clock: FakeClock) -> None:
    date = email.utils.formatdate(clock.wall() + 12, usegmt=True)
    _, model = await serve(status(503, retry_after=date), HELLO)
    await collect(model)
    assert clock.slept == [12.0]


@pytest.mark.parametrize("said", ["soon", "-3", "", "Thu, 99 Foo 2026", "nan", "1e99"])
async def test_p02_an_unreadable_retry_after_is_a_backoff(said: str, serve: Serve, clock: FakeClock) -> None:
    _, model = await serve(status(429, retry_after=said), HELLO)
    await collect(model)
    assert len(clock.slept) == 1
    assert 0 < clock.slept[0] <= 0.5


@pytest.mark.parametrize("code", [500, 502, 503, 504, 529, 408, 429])
async def test_p02_a_busy_server_is_asked_again(code: int, serve: Serve, clock: FakeClock) -> None:
    server, model = await serve(status(code), status(code), HELLO)
    reply = await reply_of(model)
    assert reply.text == HELLO.text
    assert len(server.chats) == 3
    assert len(clock.slept) == 2


async def test_p02_a_wait_beyond_the_budget_ends_at_once(serve: Serve, clock: FakeClock) -> None:
    server, model = await serve(status(429, retry_after="86400"), HELLO)
    with pytest.raises(Refused) as caught:
        await collect(model)
    assert clock.slept == []
    assert len(server.chats) == 1
    assert "429" in caught.value.message


async def test_p02_a_server_that_stays_busy_ends_within_a_minute(serve: Serve, clock: FakeClock) -> None:
    _, model = await serve(script=Script(replies=[status(503)], then="repeat_last"))
    with pytest.raises(Unreachable):
        await collect(model)
    assert sum(clock.slept) <= 45


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422, 451])
async def test_p02_a_refusal_is_final(code: int, serve: Serve, clock: FakeClock) -> None:
    server, model = await serve(status(code), HELLO)
    with pytest.raises(Refused) as caught:
        await collect(model)
    assert clock.slept == []
    assert len(server.chats) == 1
    assert str(code) in caught.value.message
    assert caught.value.exit_code == 3


async def test_p02_hints_name_the_key_and_the_models(serve: Serve, clock: FakeClock, key: str) -> None:
    server, model = await serve(status(401), status(404))
    with pytest.raises(Refused) as no_key:
        await collect(model)
    other = OpenAIModel(server.url, "kimi-k9", key, clock=clock)
    with pytest.raises(Refused) as no_model:
        await collect(other)
    await other.close()
    assert "KIMI_API_KEY" in no_key.value.hint
    assert "'kimi-k9' is not among its models: scripted" in no_model.value.hint


async def test_p02_no_quota_is_not_waited_for(serve: Serve, clock: FakeClock) -> None:
    _, model = await serve(status(429, body="exceeded_current_quota_error: pay first"), HELLO)
    with pytest.raises(Refused) as caught:
        await collect(model)
    assert "quota" in caught.value.message
    assert clock.slept == []


@pytest.mark.parametrize("wording", ["vllm", "llama", "moonshot", "sglang", "openai"])
async def test_p02_an_overflow_says_the_limit(wording: Wording, serve: Serve) -> None:
    _, model = await serve(ScriptedReply(fault=Fault(kind="context", limit=8192, wording=wording)))
    with pytest.raises(ContextOverflow) as caught:
        await collect(model)
    assert caught.value.limit == 8192


async def test_p02_too_large_is_an_overflow(serve: Serve) -> None:
    _, model = await serve(status(413))
    with pytest.raises(ContextOverflow) as caught:
        await collect(model)
    assert caught.value.limit is None


async def test_p02_a_refused_optional_field_is_left_out(serve: Serve, clock: FakeClock) -> None:
    server, model = await serve(status(400, body="Unrecognized request argument: stream_options"), HELLO)
    assert (await reply_of(model)).text == HELLO.text
    assert "stream_options" in server.chats[0].json()
    assert "stream_options" not in server.chats[1].json()
    assert clock.slept == []


# ---------------------------------------------------------------- P04 cut streams


@pytest.mark.parametrize("after", range(1, 14))
@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_p04_a_cut_stream_runs_no_call_and_is_asked_again(
    kind: FaultKind, after: int, serve: Serve
) -> None:
    """Cut at every event; those after the finish reason no longer matter."""
    _, model = await serve(failing(kind, CALLING, after=after), HELLO)
    chunks = await collect(model)
    replies = [chunk for chunk in chunks if isinstance(chunk, Reply)]
    assert len(replies) == 1
    if retries_in(chunks):
        assert replies[0].text == HELLO.text
        assert replies[0].calls == ()
    else:
        assert replies[0].calls[0].arguments == {"command": "rm -rf build"}
    assert (len(retries_in(chunks)) == 1) == (after <= 10)


async def test_p04_a_finish_reason_is_an_end_without_done(serve: Serve) -> None:
    _, model = await serve(failing("no_done", CALLING))
    assert [call.name for call in (await reply_of(model)).calls] == ["Bash"]


async def test_p04_done_is_an_end_without_a_finish_reason(serve: Serve) -> None:
    _, model = await serve(failing("no_finish", CALLING))
    assert [call.name for call in (await reply_of(model)).calls] == ["Bash"]


async def test_p04_done_with_half_a_call_is_no_end(serve: Serve) -> None:
    half = ScriptedReply(calls=[ScriptedCall(name="Bash", arguments='{"command": "rm -rf /ho')])
    _, model = await serve(failing("no_finish", half), HELLO)
    chunks = await collect(model)
    assert len(retries_in(chunks)) == 1
    assert chunks[-1].calls == ()  # type: ignore[union-attr]


async def test_p04_an_error_inside_the_stream_is_retried(serve: Serve) -> None:
    _, model = await serve(failing("error_event", after=2), HELLO)
    assert len(retries_in(await collect(model))) == 1


async def test_p04_an_overflow_inside_the_stream(serve: Serve) -> None:
    words = "the request exceeds the available context size (2048 tokens)"
    _, model = await serve(failing("error_event", after=2, status=400, body=words))
    with pytest.raises(ContextOverflow) as caught:
        await collect(model)
    assert caught.value.limit == 2048


# ---------------------------------------------------------------- P06 malformed answers


async def test_p06_a_chunk_that_is_not_json_is_retried(serve: Serve) -> None:
    _, model = await serve(failing("bad_json", CALLING, after=3), CALLING)
    chunks = await collect(model)
    assert len(retries_in(chunks)) == 1
    assert isinstance(chunks[-1], Reply)


async def test_p06_a_server_of_nonsense_ends(serve: Serve) -> None:
    server, model = await serve(*[failing("bad_json")] * 9)
    with pytest.raises(Malformed):
        await collect(model)
    assert len(server.chats) == 5


async def test_p06_a_web_page_is_told_apart(serve: Serve, clock: FakeClock) -> None:
    _, model = await serve(ScriptedReply(fault=Fault(kind="html")))
    with pytest.raises(Malformed) as caught:
        await collect(model)
    assert "web page" in caught.value.message
    assert "/v1" in caught.value.hint
    assert clock.slept == []


async def test_p06_near_json_is_mended(serve: Serve) -> None:
    near = ScriptedReply(calls=[ScriptedCall(name="Bash", arguments="{'command': 'ls', 'timeout': 5,}")])
    _, model = await serve(near)
    assert (await reply_of(model)).calls[0].arguments == {"command": "ls", "timeout": 5}


async def test_p06_what_cannot_be_read_reaches_the_toolbox_as_text(serve: Serve) -> None:
    """And is valid JSON when it is sent back."""
    bad = ScriptedReply(calls=[ScriptedCall(id="c1", name="Bash", arguments='{"command": "echo "a""}')])
    server, model = await serve(bad, HELLO)
    call = (await reply_of(model)).calls[0]
    assert call.arguments == {"__raw__": '{"command": "echo "a""}'}
    await collect(model, ask("hi", Message(role="assistant", text="", calls=(call,))))
    sent = server.chats[1].json()["messages"][-1]["tool_calls"][0]["function"]["arguments"]
    assert '"__raw__"' in sent


@pytest.mark.parametrize("finish", ["length", ""])
async def test_p06_a_command_cut_in_half_is_never_completed(finish: str, serve: Serve) -> None:
    half = ScriptedCall(name="Bash", arguments='{"command": "rm -rf /home/me/build')
    _, model = await serve(ScriptedReply(calls=[half], finish=finish))
    assert set((await reply_of(model)).calls[0].arguments) == {"__raw__"}


async def test_p06_at_the_token_limit_nothing_is_mended(serve: Serve) -> None:
    call = ScriptedCall(name="Bash", arguments='{"command": "ls"')
    _, model = await serve(ScriptedReply(calls=[call], finish="length"))
    reply = await reply_of(model)
    assert reply.finish == "length"
    assert set(reply.calls[0].arguments) == {"__raw__"}


# ---------------------------------------------------------------- P08 silence


@pytest.mark.parametrize("after", [0, 3])
async def test_p08_a_silent_connection_is_given_up_and_retried(after: int, serve: Serve) -> None:
    silent = failing("silence", seconds=30, after=after)
    server, model = await serve(silent, HELLO, silence_s=0.15)
    async with asyncio.timeout(20):
        chunks = await collect(model)
    assert "said nothing for 0.15 s" in retries_in(chunks)[0].error
    assert isinstance(chunks[-1], Reply)
    assert len(server.chats) == 2


async def test_p08_silence_again_and_again_ends(serve: Serve) -> None:
    server, model = await serve(*[failing("silence", seconds=30)] * 9, silence_s=0.1)
    async with asyncio.timeout(20):
        with pytest.raises(Unreachable):
            await collect(model)
    assert len(server.chats) == 3


async def test_p08_a_slow_server_that_lives_is_waited_for(serve: Serve) -> None:
    """The whole takes far longer than the silence that would end it."""
    _, model = await serve(failing("drip", seconds=0.005), silence_s=0.5)
    reply = await reply_of(model)
    assert reply.text == HELLO.text


async def test_p08_silence_after_the_finish_reason_costs_no_answer(serve: Serve) -> None:
    _, model = await serve(failing("silence", ScriptedReply(text="x"), seconds=30, after=3), silence_s=0.15)
    async with asyncio.timeout(20):
        assert (await reply_of(model)).text == "x"


# ---------------------------------------------------------------- P10 connections and proxies


async def test_p10_a_stale_connection_is_replaced_unseen(serve: Serve, clock: FakeClock) -> None:
    server, model = await serve(failing("stale"), failing("stale"), HELLO)
    for _ in range(3):
        assert retries_in(await collect(model)) == []
        await asyncio.sleep(0.05)
    assert server.accepted == 3
    assert clock.slept == []


async def test_p10_connections_are_kept(serve: Serve) -> None:
    server, model = await serve(HELLO, HELLO, HELLO)
    await model.open()
    for _ in range(3):
        await collect(model)
    assert server.accepted == 1


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
async def test_p10_no_proxy_for_loopback(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with ScriptedServer(Script(replies=[HELLO])) as server:
        model = OpenAIModel(server.url, "scripted")
        assert (await reply_of(model)).text == HELLO.text
        await model.close()


async def test_p10_a_proxy_is_used_for_what_is_not_loopback(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is a scripted server: it answers for a host that does not exist."""
    async with ScriptedServer(Script(replies=[HELLO])) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        model = OpenAIModel("http://models.invalid/v1", "m", clock=clock)
        assert (await reply_of(model)).text == HELLO.text
        await model.close()
        assert proxy.chats[0].path == "http://models.invalid/v1/chat/completions"


async def test_p10_over_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    path = str(tmp_path / "s.sock")
    reply = ScriptedReply(text="hi", progress=[(10, 100), (100, 100)])
    async with ScriptedServer(Script(replies=[reply]), socket=path) as server:
        model = OpenAIModel("http://runtime/v1", "scripted", uds=path)
        chunks = await collect(model)
        await model.close()
    assert [type(chunk).__name__ for chunk in chunks] == ["Working", "Working", "Delta", "Reply"]
    assert server.chats[0].json()["return_progress"] is True


# ---------------------------------------------------------------- the key


@pytest.mark.parametrize("code", [400, 401, 429, 500])
async def test_the_key_is_never_shown(code: int, serve: Serve, key: str) -> None:
    """Some servers repeat it in what they answer."""
    script = Script(replies=[status(code, body=f"bad key {key}\x1b[31m")], then="repeat_last")
    _, model = await serve(script=script)
    told: list[Chunk] = []
    with pytest.raises(KimiError) as caught:
        await collect(model, into=told)
    seen = repr(model) + repr(told) + caught.value.message + caught.value.hint + repr(caught.value)
    assert key not in seen
    assert "\x1b" not in seen
    assert "bad key ***" in seen


async def test_the_key_is_sent(serve: Serve, key: str) -> None:
    server, model = await serve(HELLO)
    await collect(model)
    assert server.chats[0].headers["authorization"] == f"Bearer {key}"


@pytest.mark.parametrize("bad", ["a\nb", "a\r\nx: y", "schlüssel"])
def test_a_key_that_cannot_be_one(bad: str) -> None:
    with pytest.raises(UsageError):
        OpenAIModel("http://127.0.0.1:1/v1", "m", bad)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x/v1", "http://", "http://[::1", "http://h:x/"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        OpenAIModel(url, "m")
    assert "http://127.0.0.1:8000/v1" in caught.value.hint


def test_a_password_in_the_url_is_not_shown() -> None:
    assert "pass" not in repr(OpenAIModel("http://user:pass@example.com/v1/", "m"))
    address = parse_address("http://example.com/v1/chat/completions/")
    assert address.base == "http://example.com/v1"


async def test_closing_early_leaves_nothing_open(serve: Serve) -> None:
    _, model = await serve(failing("drip", seconds=0.01), HELLO)
    stream = model.stream(ask())
    assert isinstance(await anext(stream), Delta)
    await stream.aclose()
    assert (await reply_of(model)).text == HELLO.text


def test_the_environment_has_no_say_in_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert parse_address("http://192.168.1.5:8000/v1").direct
    assert not parse_address("https://127.0.0.1:8000/v1").direct
    os.environ["HTTP_PROXY"] = "http://proxy:1"
    assert not parse_address("http://192.168.1.5:8000/v1").direct
    assert parse_address("http://localhost:8000/v1").direct
    assert parse_address("http://[::1]:8000/v1").direct
    del os.environ["HTTP_PROXY"]
