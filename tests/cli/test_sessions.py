"""`kimi-code sessions`, as a user and a script run it."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from running import kimi

from kimi_code.config import paths
from kimi_code.events import (
    AssistantMessage,
    Call,
    CallFinished,
    CallRequested,
    CallStarted,
    Result,
    SessionStarted,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from kimi_code.session.store import Store

TOKEN = "gh" + "p_" + "a1B2" * 9
ESCAPE = "\x1b]0;owned\x07\x1b[31mred"


@pytest.fixture
def store() -> Store:
    return Store(paths.sessions_dir())


def _recorded(store: Store, cwd: str = "/work") -> str:
    call = Call(id="c", name="Bash", arguments={"command": f"cat {ESCAPE}"})
    session = store.create(
        [
            SessionStarted(version="1", cwd=cwd, model="m", approval="auto", sandbox="bubblewrap"),
            TurnStarted(turn=1),
            UserMessage(text=f"Look at {ESCAPE} with {TOKEN}"),
            AssistantMessage(text="Looking.", calls=[call]),
            CallRequested(id="c", name="Bash", arguments=call.arguments),
            CallStarted(id="c", name="Bash", target="cat"),
            CallFinished(id="c", name="Bash", status="ok", content=f"{ESCAPE}\n" * 40),
            AssistantMessage(text="Seen."),
            TurnEnded(turn=1, reason="done"),
            Result(status="done", result="Seen.", session_id="s", exit_code=0),
        ]
    )
    session.close()
    return session.id


async def test_list_in_words_and_as_json(store: Store, workspace: Path) -> None:
    empty = await kimi("sessions", "list", cwd=workspace)
    assert (empty.exit_code, empty.stdout) == (0, "")
    here, other = _recorded(store, str(workspace.resolve())), _recorded(store)
    listed = await kimi("sessions", "list", cwd=workspace)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [other, here]
    assert "done" in listed.stdout
    assert "\x1b" not in listed.stdout
    mine = json.loads((await kimi("sessions", "list", "--here", "--json", cwd=workspace)).stdout)
    assert [(info["id"], info["turns"], info["steps"], info["status"]) for info in mine] == [
        (here, 1, 2, "done")
    ]
    one = json.loads((await kimi("sessions", "list", "--json", "-n", "1", cwd=workspace)).stdout)
    assert [info["id"] for info in one] == [other]


async def test_h01_show_is_readable_and_sanitised(store: Store, workspace: Path) -> None:
    name = _recorded(store)
    shown = await kimi("sessions", "show", name[:-2], cwd=workspace)
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout + shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == f"session {name}"
    assert any(line.startswith("you: Look at red with") for line in lines)
    assert any("more lines" in line for line in lines)
    full = await kimi("sessions", "show", name, "--full", cwd=workspace)
    assert full.stdout.count("red") > shown.stdout.count("red")


async def test_show_as_json_is_the_records(store: Store, workspace: Path) -> None:
    name = _recorded(store)
    ran = await kimi("sessions", "show", name, "--json", cwd=workspace)
    assert ran.stdout == (store.root / name / "main.jsonl").read_text()
    assert [event["seq"] for event in ran.events] == list(range(10))


async def test_verify_exits_0_with_a_torn_tail_and_1_with_damage(store: Store, workspace: Path) -> None:
    name = _recorded(store)
    log = store.root / name / "main.jsonl"
    good = log.read_bytes()
    ran = await kimi("sessions", "verify", name, cwd=workspace)
    assert (ran.exit_code, ran.stdout) == (0, f"{name}: ok, 10 records\n")
    log.write_bytes(good + b"half a rec")
    ran = await kimi("sessions", "verify", name, cwd=workspace)
    assert ran.exit_code == 0
    assert "torn tail of 10 bytes" in ran.stdout
    assert log.read_bytes() == good + b"half a rec"
    log.write_bytes(good.replace(b'"turn.started"', b'"turn.sta\0ted"'))
    ran = await kimi("sessions", "verify", name, cwd=workspace)
    assert ran.exit_code == 1
    assert "line 2 is damaged" in ran.stdout
    ran = await kimi("sessions", "verify", name, "--json", cwd=workspace)
    report = json.loads(ran.stdout)
    assert (ran.exit_code, report["ok"], report["records"]) == (1, False, 9)
    shown = await kimi("sessions", "show", name, cwd=workspace)
    assert (shown.exit_code, "sessions verify" in shown.stderr) == (0, True)


async def test_export_writes_a_private_file_without_secrets(store: Store, workspace: Path) -> None:
    name = _recorded(store)
    ran = await kimi("sessions", "export", name, "-o", "out.md", cwd=workspace)
    assert (ran.exit_code, ran.stdout) == (0, "")
    exported = workspace / "out.md"
    assert exported.stat().st_mode & 0o777 == 0o600
    text = exported.read_text()
    assert "### You" in text
    assert TOKEN not in text
    assert "\x1b" not in text
    again = await kimi("sessions", "export", name, "-o", "out.md", cwd=workspace)
    assert again.exit_code == 2
    assert "there already" in again.stderr
    exported.chmod(0o644)
    forced = await kimi("sessions", "export", name, "-o", "out.md", "--force", cwd=workspace)
    assert (forced.exit_code, exported.stat().st_mode & 0o777) == (0, 0o600)
    assert exported.read_text() == text
    records = json.loads((await kimi("sessions", "export", name, "--format", "json", cwd=workspace)).stdout)
    assert [record["type"] for record in records][:3] == ["session.started", "turn.started", "user.message"]
    assert TOKEN not in json.dumps(records)
    nowhere = await kimi("sessions", "export", name, "-o", "no/such/folder/x", cwd=workspace)
    assert (nowhere.exit_code, "cannot be written" in nowhere.stderr) == (1, True)


async def test_rm_removes_several_and_a_wrong_name_removes_none(store: Store, workspace: Path) -> None:
    names = [_recorded(store) for _ in range(3)]
    wrong = await kimi("sessions", "rm", names[0], "nope", cwd=workspace)
    assert (wrong.exit_code, len(store.sessions())) == (2, 3)
    ran = await kimi("sessions", "rm", names[0], names[1], names[0], cwd=workspace)
    assert (ran.exit_code, ran.stdout) == (0, f"Removed {names[0]}.\nRemoved {names[1]}.\n")
    assert [info.id for info in store.sessions()] == [names[2]]


async def test_m10_rm_refuses_a_session_in_use(store: Store, workspace: Path) -> None:
    session = store.create([TurnStarted(turn=1)])
    ran = await kimi("sessions", "rm", session.id, cwd=workspace)
    assert ran.exit_code == 2
    assert f"process {os.getpid()}" in ran.stderr
    listed = json.loads((await kimi("sessions", "list", "--json", cwd=workspace)).stdout)
    assert [info["status"] for info in listed] == ["running"]
    session.close()
    assert (await kimi("sessions", "rm", session.id, cwd=workspace)).exit_code == 0


@pytest.mark.parametrize("command", ["show", "verify", "export", "rm"])
async def test_an_unknown_session_is_a_sentence_and_2(command: str, workspace: Path) -> None:
    ran = await kimi("sessions", command, "2099", cwd=workspace)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("kimi-code: There is no session '2099'.")


async def test_a_reader_that_goes_away_is_no_crash(store: Store, workspace: Path) -> None:
    name = _recorded(store)
    command = f"kimi() {{ '{sys.executable}' -m kimi_code.cli \"$@\"; }}; kimi sessions show {name} | head -1"
    process = await asyncio.create_subprocess_shell(
        command, cwd=workspace, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert out.decode() == f"session {name}\n"
    assert b"Traceback" not in err
