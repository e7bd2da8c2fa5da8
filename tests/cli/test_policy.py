"""`kimi-code policy check` as a user runs it; A01, A15, A16, A20 once more from outside."""

from pathlib import Path

import msgspec
import pytest
from running import Ran, kimi

from kimi_code.config import paths
from kimi_testing.script import Script, ScriptedCall, ScriptedReply
from kimi_testing.server import ScriptedServer

_CONFIG = """
[permission]
mode = "yolo"
allow = ["Bash(echo *)", "Bash(git log *)", "Bash(ls *)"]
ask = ["Bash(ls -R *)"]
deny = ["Bash(curl *)"]
"""


async def _check(command: str, cwd: Path) -> Ran:
    paths.write_private(paths.config_file(), _CONFIG.encode())
    return await kimi("policy", "check", "--json", "--", command, cwd=cwd)


@pytest.mark.parametrize(
    ("command", "decision", "rule"),
    [
        ("echo hi", "allow", "Bash(echo *)"),
        ("echo hi && touch x", "ask", ""),
        ("ls -R src", "ask", "Bash(ls -R *)"),
        ("git logout", "ask", ""),
        ("true;" * 50 + "curl x", "deny", "Bash(curl *)"),
        ("x" * 100_000, "deny", ""),
        ("$(" * 500 + ")" * 500, "deny", ""),
        ("cat <<'EOF'\ncurl x\nEOF", "ask", ""),
        ("--json", "ask", ""),
    ],
    ids=lambda value: value[:20],
)
async def test_decision_and_exit_code(workspace: Path, command: str, decision: str, rule: str) -> None:
    ran = await _check(command, workspace)
    answer = msgspec.json.decode(ran.stdout)
    assert set(answer) == {"decision", "rule", "reason", "parts"}
    assert (answer["decision"], answer["rule"]) == (decision, rule)
    assert ran.exit_code == (0 if decision == "allow" else 5)
    assert ran.stderr == ""


async def test_parts(workspace: Path) -> None:
    answer = msgspec.json.decode((await _check("echo a; ls | cat", workspace)).stdout)
    assert answer["parts"] == ["echo a", "ls", "cat"]


async def test_one_string_is_needed(workspace: Path) -> None:
    ran = await kimi("policy", "check", "--", "git", "status", cwd=workspace)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "Quote it" in ran.stderr
    assert (await kimi("policy", "check", cwd=workspace)).exit_code == 2


async def test_in_words(workspace: Path) -> None:
    ran = await kimi("policy", "check", "--", "ls", cwd=workspace)
    assert (ran.exit_code, ran.stdout) == (5, "ask: no rule allows ls\n")


async def test_a_bad_configuration_is_a_usage_error(workspace: Path) -> None:
    paths.write_private(paths.config_file(), b"[permission]\nallow = ['Bash(']\n")
    ran = await kimi("policy", "check", "--json", "--", "ls", cwd=workspace)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "line 2" in ran.stderr


@pytest.mark.parametrize(("rule", "status"), [("ask", "denied"), ("deny", "denied"), ("allow", "ok")])
async def test_a23_a_run_without_a_terminal_denies_what_would_ask(
    workspace: Path, rule: str, status: str
) -> None:
    text = f"[permission]\n{rule} = ['Bash(touch *)']\n"
    paths.write_private(paths.config_file(), text.encode())
    call = ScriptedCall(name="Bash", arguments={"command": "true; touch made"})
    replies = [ScriptedReply(calls=[call]), ScriptedReply(text="Done.")]
    async with ScriptedServer(Script(replies=replies)) as server:
        flags = ("--model-url", server.url, "-m", "scripted", "-o", "stream-json")
        ran = await kimi("run", "do it", *flags, cwd=workspace)
    assert ran.of("call.finished")[0]["status"] == status
    assert ran.exit_code == (0 if status == "ok" else 5)
    assert (workspace / "made").exists() is (status == "ok")
    assert len(ran.of("approval.resolved")) == (rule == "ask")
