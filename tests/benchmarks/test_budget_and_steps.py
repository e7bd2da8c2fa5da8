"""How requests and events become figures, and the stand-in for the Responses API."""

import json
import sys
from pathlib import Path

import httpx2
import pytest

from benchmarks.measured import run
from benchmarks.prompt_budget import base_of, common, shared, visible
from benchmarks.scripted import CHAT, RESPONSES, Scripted
from benchmarks.steps import READ, RunFailed, Subject, cost, last_result, script, tenths, timed

# An agent in a few lines: it asks, does every call, and ends with an answer in words.
AGENT = """
import json, sys, urllib.request
url, works = sys.argv[1], sys.argv[2] == "works"
messages = [{"role": "user", "content": "Do the steps."}]
while True:
    data = json.dumps({"messages": messages}).encode()
    request = urllib.request.Request(url + "/chat/completions", data, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        message = json.load(answer)["choices"][0]["message"]
    messages.append(message)
    if not message.get("tool_calls"):
        break
    for call in message["tool_calls"]:
        said = call["function"]["arguments"] if works else "no such tool"
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": said})
"""


def subject(tmp_path: Path, how: str) -> Subject:
    return Subject(
        name="a small agent",
        call=READ,
        server=CHAT,
        once=lambda url, steps: run([sys.executable, "-c", AGENT, url, how], cwd=tmp_path),
    )


def test_a_run_does_all_its_steps(tmp_path: Path) -> None:
    ran, own = timed(subject(tmp_path, "works"), 7)
    assert ran.code == 0
    assert 0 < own < ran.seconds
    measured = cost(subject(tmp_path, "works"), 3)
    assert measured.start_s > 0
    assert measured.peak_mb > 5


def test_one_step_and_none(tmp_path: Path) -> None:
    assert timed(subject(tmp_path, "works"), 1)[0].code == 0
    assert timed(subject(tmp_path, "works"), 0)[0].code == 0


def test_steps_that_did_nothing_are_not_measured(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="did not do its work"):
        timed(subject(tmp_path, "fails"), 3)


def test_an_agent_that_stops_early_is_not_measured(tmp_path: Path) -> None:
    lazy = Subject(
        name="lazy",
        call=READ,
        server=CHAT,
        once=lambda url, steps: run([sys.executable, "-c", "raise SystemExit('no')"], cwd=tmp_path),
    )
    with pytest.raises(RunFailed, match="lazy: exit 1 after 0 requests: no"):
        timed(lazy, 2)


def test_tenths_are_told_by_the_finished_calls() -> None:
    lines = [json.dumps({"type": "session.started", "time": 0.0})]
    lines += [
        json.dumps({"type": "call.finished", "time": i * (0.01 if i <= 50 else 0.02)}) for i in range(101)
    ]
    first, *_, last = tenths("\n".join(lines))
    assert first == pytest.approx(10)
    assert last == pytest.approx(20)
    assert tenths("") == []


def test_last_result_of_both_apis() -> None:
    chat = {"messages": [{"role": "user", "content": "7"}, {"role": "tool", "content": "out 7"}]}
    responses = {
        "input": [{"type": "function_call_output", "output": "out 8"}, {"role": "user", "content": ""}]
    }
    assert last_result(json.dumps(chat)) == '"out 7"'
    assert last_result(json.dumps(responses)) == '"out 8"'
    assert last_result('{"messages": []}') == ""


def test_the_base_is_the_system_prompt_and_the_tools_as_sent() -> None:
    body = '{"model":"m","tools":[{"type": "function"}],"messages":[{"role":"system","content":"Be good."}]}'
    base = base_of(body)
    assert (base.tools, base.system) == (b'[{"type": "function"}]', "Be good.")
    assert base.size == 22 + 8


def test_what_is_shared_is_a_beginning() -> None:
    assert common(b"abcd", b"abxd") == 2
    assert common([1, 2], [1, 2, 3]) == 2
    assert shared(b"abcd", b"abxy") == 0.5
    assert shared(b"", b"") == 0


def test_ids_and_settings_are_not_visible() -> None:
    one = {"tools": [1], "input": [{"id": "a", "role": "user", "content": "hi"}], "prompt_cache_key": "x"}
    two = {"prompt_cache_key": "y", "input": [{"role": "user", "content": "hi", "id": "b"}], "tools": [1]}
    assert visible(json.dumps(one, separators=(",", ":"))) == visible(json.dumps(two, separators=(",", ":")))


def test_the_responses_server_streams_calls_and_then_text() -> None:
    with Scripted(script(READ, 2), module=RESPONSES) as server:
        texts = [httpx2.post(f"{server.url}/responses", json={"input": []}).text for _ in range(3)]
        assert len(server.requests()) == 3
    for number in (0, 1):
        data = [json.loads(line[6:]) for line in texts[number].splitlines() if line.startswith("data: ")]
        assert [event["type"] for event in data] == [
            "response.created",
            "response.output_item.added",
            "response.output_item.done",
            "response.completed",
        ]
        item = data[2]["item"]
        assert (item["type"], item["name"]) == ("function_call", "Read")
        assert json.loads(item["arguments"]) == {"path": f"notes/{number + 1}.txt"}
    assert "Done." in texts[2]
