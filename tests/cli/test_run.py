"""`kimi-code run` against a scripted server over a real socket: output, exit codes, budgets, sessions."""

import asyncio
import signal
from pathlib import Path

import pytest
from running import Ran, ended, kimi, start

from kimi_testing.script import Fault, Script, ScriptedCall, ScriptedReply
from kimi_testing.server import ScriptedServer
from kimi_testing.workspaces import buggy_package


def _say(text: str) -> ScriptedReply:
    return ScriptedReply(text=text)


def _call(name: str, **arguments: object) -> ScriptedReply:
    return ScriptedReply(calls=[ScriptedCall(name=name, arguments=arguments)])


async def _run(cwd: Path, replies: list[ScriptedReply], *arguments: str, task: str = "do it") -> Ran:
    async with ScriptedServer(Script(replies=replies)) as server:
        flags = ("--model-url", server.url, "-m", "scripted", "-o", "stream-json")
        return await kimi("run", task, *flags, *arguments, cwd=cwd)


async def test_text_output_is_the_answer_alone(workspace: Path) -> None:
    async with ScriptedServer(Script(replies=[_say("Hello there.")])) as server:
        ran = await kimi("run", "say hi", "--model-url", server.url, cwd=workspace)
    assert (ran.exit_code, ran.stdout) == (0, "Hello there.\n")


async def test_json_output_is_one_result_object(workspace: Path) -> None:
    async with ScriptedServer(Script(replies=[_say("Hello.")])) as server:
        ran = await kimi("-p", "say hi", "--model-url", server.url, "-o", "json", cwd=workspace)
    assert ran.exit_code == 0
    assert [e["type"] for e in ran.events] == ["result"]
    assert ran.result["status"] == "done"
    assert ran.result["result"] == "Hello."
    assert ran.result["steps"] == 1


async def test_stream_begins_with_the_session_and_ends_with_the_result(workspace: Path) -> None:
    ran = await _run(workspace, [_call("Bash", command="echo hi"), _say("Done.")])
    kinds = [event["type"] for event in ran.events]
    assert (kinds[0], kinds[-1]) == ("session.started", "result")
    assert {"turn.started", "user.message", "call.requested", "call.started", "call.finished"} <= set(kinds)
    facts = [e["seq"] for e in ran.events if e["type"] not in ("assistant.delta", "call.output", "progress")]
    assert facts == list(range(len(facts)))
    assert ran.of("call.finished")[0]["content"] == "hi"
    assert ran.result["calls"] == 1


async def test_detected_verification_sends_the_model_back_to_work(workspace: Path) -> None:
    buggy_package(workspace)
    broken = _call(
        "Write", path="tests/test_extra.py", content="def test_new():\n    assert False\n", mode="overwrite"
    )
    mended = _call("Bash", command="echo 'def test_new(): pass' > tests/test_extra.py")
    ran = await _run(workspace, [broken, _say("Done."), mended, _say("Really done.")])
    assert [e["passed"] for e in ran.of("verify.finished")] == [False, True]
    assert (ran.exit_code, ran.result["result"]) == (0, "Really done.")
    assert "tests/test_extra.py" in ran.result["files_changed"]


async def test_a_given_verification_must_exit_0(workspace: Path) -> None:
    write = _call("Write", path="a.txt", content="a", mode="overwrite")
    ran = await _run(workspace, [write, _say("Done."), _say("Done!")], "--verify", "test -f b.txt")
    assert ran.exit_code == 1
    assert ran.result["status"] == "failed"
    assert ran.result["verification"][0]["exit_code"] == 1


async def test_nothing_changed_means_nothing_to_verify(workspace: Path) -> None:
    ran = await _run(workspace, [_say("Hi.")], "--verify", "false")
    assert ran.exit_code == 0
    assert ran.of("verify.started") == []


async def test_q09_step_budget_ends_exactly(workspace: Path) -> None:
    replies = [_call("Bash", command=f"echo {n}") for n in range(9)]
    ran = await _run(workspace, replies, "--max-steps", "3")
    assert (ran.exit_code, ran.result["steps"], ran.result["status"]) == (4, 3, "budget")
    assert ran.of("turn.ended")[0]["reason"] == "step_limit"


async def test_q09_token_budget_ends_the_turn(workspace: Path) -> None:
    replies = [_call("Bash", command=f"echo {n}") for n in range(9)]
    ran = await _run(workspace, replies, "--max-tokens", "1")
    assert (ran.exit_code, ran.result["steps"]) == (4, 1)
    assert ran.of("turn.ended")[0]["reason"] == "token_limit"


async def test_q09_time_budget_stops_a_running_command(workspace: Path) -> None:
    ran = await _run(workspace, [_call("Bash", command="sleep 60"), _say("Done.")], "--timeout", "2s")
    assert ran.exit_code == 4
    assert ran.of("turn.ended")[0]["reason"] == "time_limit"
    assert [e["status"] for e in ran.of("call.finished")] == ["unknown"]


async def test_q01_the_same_call_five_times_is_a_loop(workspace: Path) -> None:
    ran = await _run(workspace, [_call("Bash", command="echo hi")] * 9)
    assert ran.exit_code == 4
    assert ran.of("turn.ended")[0]["reason"] == "loop"
    assert len(ran.of("call.finished")) == 5
    assert any(e["origin"] == "loop" for e in ran.of("user.message"))


async def test_b01_a_path_outside_is_denied_and_ends_with_5(workspace: Path) -> None:
    ran = await _run(workspace, [_call("Read", path="/etc/passwd"), _say("Done.")])
    assert ran.exit_code == 5
    assert ran.of("call.finished")[0]["status"] == "denied"
    assert "root:" not in ran.stdout


async def test_a23_manual_mode_without_a_person_denies(workspace: Path) -> None:
    ran = await _run(workspace, [_call("Bash", command="touch x"), _say("Done.")], "--approval", "manual")
    assert ran.exit_code == 5
    assert [e["decision"] for e in ran.of("approval.resolved")] == ["deny"]
    assert not (workspace / "x").exists()


async def test_plan_mode_changes_nothing(workspace: Path) -> None:
    ran = await _run(workspace, [_call("Bash", command="touch x"), _say("The plan.")], "--plan")
    assert not (workspace / "x").exists()
    assert ran.of("call.finished")[0]["status"] == "denied"


async def test_an_approvals_file_answers(workspace: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"match": "Bash(touch *)", "decision": "once"}\n')
    flags = ("--approval", "manual", "--approvals", str(answers))
    ran = await _run(workspace, [_call("Bash", command="touch x"), _say("Done.")], *flags)
    assert ran.exit_code == 0
    assert (workspace / "x").exists()


async def test_a25_a_call_cannot_switch_the_sandbox_off(workspace: Path) -> None:
    call = _call("Bash", command="touch /tmp/kimi-canary-a25", disable_sandbox=True, approved=True)
    ran = await _run(workspace, [call, _say("Done.")])
    assert ran.of("call.finished")[0]["status"] == "error"
    assert not Path("/tmp/kimi-canary-a25").exists()


async def test_a_session_goes_on_where_it_was(workspace: Path) -> None:
    async with ScriptedServer(Script(replies=[_say("One."), _say("Two."), _say("Three.")])) as server:
        flags = ("--model-url", server.url, "-m", "m", "-o", "stream-json")
        first = await kimi("run", "first", *flags, cwd=workspace)
        again = await kimi("run", "second", "-c", *flags, cwd=workspace)
        forked = await kimi("run", "third", "--fork", first.result["session_id"], *flags, cwd=workspace)
        bodies = server.chats
    assert again.result["session_id"] == first.result["session_id"]
    assert again.events[0]["type"] == "session.started"
    assert again.events[0]["resumed_from"] == first.result["session_id"]
    assert forked.result["session_id"] != first.result["session_id"]
    texts = [message["content"] for message in bodies[1].json()["messages"]]
    assert texts[-3:] == ["first", "One.", "second"]
    assert (
        bodies[0].json()["messages"][0] == bodies[1].json()["messages"][0] == bodies[2].json()["messages"][0]
    )
    assert bodies[0].json()["tools"] == bodies[2].json()["tools"]


async def test_o09_ctrl_c_ends_with_130_and_a_session_to_go_on_with(workspace: Path) -> None:
    replies = [_call("Bash", command="sleep 60"), _say("Resumed.")]
    async with ScriptedServer(Script(replies=replies)) as server:
        flags = ("--model-url", server.url, "-o", "stream-json")
        process = await start("run", "do it", *flags, cwd=workspace)
        assert process.stdout is not None
        seen = b""
        async with asyncio.timeout(60):
            while b"call.started" not in seen:
                seen += await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        ran = await ended(process)
        again = await kimi("run", "go on", "-c", *flags, cwd=workspace)
    assert ran.exit_code == 130
    assert ran.result["status"] == "interrupted"
    assert (again.exit_code, again.result["result"]) == (0, "Resumed.")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(kind="status", status=401), "model_refused"),
        (Fault(kind="context", limit=1000), "context_overflow"),
    ],
)
async def test_a_model_failure_ends_with_3_and_says_why(workspace: Path, fault: Fault, code: str) -> None:
    ran = await _run(workspace, [ScriptedReply(fault=fault)] * 9)
    assert ran.exit_code == 3
    assert ran.of("error")[0]["code"] == code
    assert ran.result["status"] == "error"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "x", "-C", "/no/such/folder"),
        ("run", "x", "--timeout", "soon"),
        ("run", "x", "--thinking", "--instant"),
        ("run", "x", "--no-such-flag"),
        ("run", ""),
        ("run",),
        ("run", "x", "-m", "no-such-model"),
        ("run", "x", "-r", "20990101"),
        ("run", "x", "--approvals", "/no/such/file"),
        ("rum",),
        (),
    ],
)
async def test_wrong_use_is_a_sentence_and_2(workspace: Path, arguments: tuple[str, ...]) -> None:
    ran = await kimi(*arguments, cwd=workspace)
    assert ran.exit_code == 2
    assert ran.stderr.startswith("kimi-code: ")
    assert ran.stdout == ""


async def test_a_missing_model_is_3_and_says_how_to_get_it(workspace: Path) -> None:
    ran = await kimi("run", "x", cwd=workspace)
    assert ran.exit_code == 3
    assert "kimi-code models pull" in ran.stderr


async def test_wrong_use_is_an_event_too(workspace: Path) -> None:
    ran = await kimi("run", "x", "-C", "/no/such/folder", "-o", "stream-json", cwd=workspace)
    assert ran.exit_code == 2
    assert [event["type"] for event in ran.events] == ["error", "result"]
    assert ran.result["exit_code"] == 2


async def test_a_task_that_is_not_done_says_why_and_how_to_go_on(workspace: Path) -> None:
    async with ScriptedServer(Script(replies=[_call("Bash", command="true"), _say("x")])) as server:
        ran = await kimi("run", "do it", "--model-url", server.url, "--max-steps", "1", cwd=workspace)
    assert ran.exit_code == 4
    assert "1 of 1 steps were used" in ran.stderr
    assert "--resume" in ran.stderr
