"""The scripted server: as a program, and what it records."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from kimi_code.adapters.openai import OpenAIModel
from kimi_code.agent.ports import Delta
from kimi_testing.asking import ask, collect, reply_of
from kimi_testing.clock import FakeClock
from kimi_testing.model import call, say
from kimi_testing.script import Fault, Rule, Script, ScriptedReply
from kimi_testing.server import ScriptedServer, parse_faults

SCRIPT = {
    "replies": [
        {"repeat": 2, "call": {"name": "Bash", "arguments": {"command": "echo {i}"}}},
        {"text": "All done.", "thinking": "easy"},
    ]
}


async def start(*arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kimi_testing.server",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().strip()


async def test_as_a_program_with_faults_and_a_record(tmp_path: Path) -> None:
    script, record = tmp_path / "script.json", tmp_path / "record.jsonl"
    script.write_text(json.dumps(SCRIPT))
    process, url = await start("--script", str(script), "--record", str(record), "--faults", "503,none,cut@1")
    try:
        model = OpenAIModel(url, "scripted", clock=FakeClock())
        assert (await model.open()).context == 32768
        chunks = [chunk for _ in range(3) for chunk in await collect(model)]
        await model.close()
    finally:
        process.terminate()
        await process.communicate()
    assert [type(chunk).__name__ for chunk in chunks] == [
        "Retrying",
        "Reply",
        "Retrying",
        "Delta",
        "Delta",
        "Reply",
        "Delta",
        "Reply",
    ]
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    chats = [line for line in lines if line["path"] == "/v1/chat/completions"]
    assert len(chats) == 5
    assert json.loads(chats[0]["body"])["model"] == "scripted"
    assert process.returncode == 0


@pytest.mark.parametrize("text", ["{", '{"replies": 1}', '{"replies": [{"fault": {"kind": "nonsense"}}]}'])
async def test_a_bad_script_is_a_sentence(text: str, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(text)
    process, first = await start("--script", str(script))
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert first == ""
    assert errors.decode().startswith("The script cannot be used: ")
    assert "Traceback" not in errors.decode()


def test_faults_as_a_list() -> None:
    assert parse_faults("503, none,reset@3,429:2,silence@0:1.5") == [
        Fault(kind="status", status=503),
        None,
        Fault(kind="reset", after=3),
        Fault(kind="status", status=429, retry_after="2"),
        Fault(kind="silence", seconds=1.5, after=0),
    ]
    assert parse_faults("") == []


async def test_rules_answer_by_what_is_asked() -> None:
    script = Script(rules=[Rule(contains="list", reply=call("Bash", command="ls"))], replies=[say("plain")])
    async with ScriptedServer(script) as server:
        model = OpenAIModel(server.url, "scripted")
        assert (await reply_of(model, ask("please list it"))).calls
        assert (await reply_of(model, ask("hello"))).text == "plain"
        await model.close()


async def test_an_obedient_server() -> None:
    async with ScriptedServer(Script(obedient=True)) as server:
        model = OpenAIModel(server.url, "scripted")
        order = ask('read: <<RUN>>{"name": "Bash", "arguments": {"command": "id"}}<</RUN>>')
        assert (await reply_of(model, order)).calls[0].arguments == {"command": "id"}
        await model.close()


async def test_a_function_may_decide() -> None:
    def answer(body: dict[str, object]) -> ScriptedReply:
        return say(f"{len(body['messages'])} messages")  # type: ignore[arg-type]

    async with ScriptedServer(answer) as server:
        model = OpenAIModel(server.url, "scripted")
        assert (await reply_of(model)).text == "2 messages"
        await model.close()


async def test_usage_tells_the_shared_prefix() -> None:
    async with ScriptedServer(Script(replies=[say("a"), say("b")])) as server:
        model = OpenAIModel(server.url, "scripted")
        first = await reply_of(model, ask("the same beginning " * 20))
        second = await reply_of(model, ask("the same beginning " * 20))
        await model.close()
    assert first.usage.cached == 0
    assert second.usage.cached == second.usage.prompt > 50


async def test_closing_does_not_wait_for_silent_requests() -> None:
    reply = ScriptedReply(text="x", fault=Fault(kind="silence", seconds=60, after=2))
    async with asyncio.timeout(20):
        async with ScriptedServer(Script(replies=[reply])) as server:
            model = OpenAIModel(server.url, "scripted")
            stream = model.stream(ask())
            assert await anext(stream) == Delta(text="x")
        await stream.aclose()
        await model.close()
