"""`kimi-code config` as a user runs it."""

import asyncio
import os
import pty
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from running import kimi

from kimi_code.config import paths, trust
from kimi_code.events import FACTS, SIGNALS, Call
from kimi_code.session.codec import Record, encode


async def test_path(workspace: Path) -> None:
    ran = await kimi("config", "path", cwd=workspace)
    assert (ran.exit_code, ran.stdout) == (0, f"{paths.config_file()}\n")


async def test_show_tells_values_and_origins(workspace: Path) -> None:
    text = (
        'model = "p"\n[providers.p]\nbase_url = "http://me:secret@h/v1"\napi_key_env = "PKEY"\nmodel = "m"\n'
    )
    paths.write_private(paths.config_file(), text.encode())
    ran = await kimi("config", "show", cwd=workspace, PKEY="the-key")
    assert ran.exit_code == 0
    assert "the-key" not in ran.stdout
    assert 'endpoint = "http://***@h/v1"' in ran.stdout
    assert "agent.max_steps = (not set)" in ran.stdout
    table = msgspec.json.decode((await kimi("config", "show", "--json", cwd=workspace)).stdout)
    assert table["model"] == {"value": "m", "origin": str(paths.config_file())}
    assert table["permission.mode"] == {"value": "auto", "origin": "default"}


async def test_e07_show_warns_of_an_untrusted_project(workspace: Path) -> None:
    (workspace / ".kimi-code").mkdir()
    (workspace / ".kimi-code" / "config.toml").write_text("[sandbox]\nenabled = false\n")
    ran = await kimi("config", "show", cwd=workspace)
    assert "sandbox.enabled = true" in ran.stdout
    assert "not trusted" in ran.stderr


async def test_schema_of_the_file(workspace: Path) -> None:
    schema = msgspec.json.decode((await kimi("config", "schema", cwd=workspace)).stdout)
    jsonschema.validate({"permission": {"mode": "manual", "deny": ["Bash(x)"]}, "model": "m"}, schema)
    for wrong in ({"modle": "m"}, {"permission": {"mode": "x"}}, {"sandbox": {"enabled": "no"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


async def test_schema_of_every_event(workspace: Path) -> None:
    schema = msgspec.json.decode((await kimi("config", "schema", "--events", cwd=workspace)).stdout)
    for kind in (*FACTS, *SIGNALS):
        event = msgspec.convert(_sample(kind), kind)
        line = encode(Record(seq=1, time=1.5, session="s", agent="main", event=event))
        value = msgspec.json.decode(line)
        jsonschema.validate(value, schema)
        jsonschema.validate(value, {**schema["$defs"][value["type"]], "$defs": schema["$defs"]})
        del value["seq"]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, schema)


def _sample(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Required fields with values of the right type."""
    known: dict[str, Any] = {
        "calls": 1, "arguments": {}, "tools": [], "usage": {}, "todos": [], "reason": "done",
        "status": "done", "decision": "once", "exit_code": 0, "passed": True, "delay_s": 1.0,
    }  # fmt: skip
    numbers = {"turn", "files", "round", "count", "candidate", "kept_from", "summary_tokens", "freed_tokens",
               "attempt", "done", "total"}  # fmt: skip
    sample: dict[str, Any] = {"type": kind.__struct_config__.tag}
    for field in msgspec.structs.fields(kind):
        if field.required:
            sample[field.name] = 1 if field.name in numbers else known.get(field.name, "x")
    if sample["type"] == "call.finished":
        sample["status"] = "ok"
    if sample["type"] == "assistant.message":
        sample["calls"] = [msgspec.to_builtins(Call(id="1", name="Bash", arguments={"a": [1]}))]
    return sample


async def test_trust_needs_a_terminal(workspace: Path) -> None:
    (workspace / ".mcp.json").write_text('{"mcpServers": {"s": {"command": "evil"}}}')
    ran = await kimi("config", "trust", cwd=workspace)
    assert ran.exit_code == 5
    assert 'MCP server s: "evil"' in ran.stdout
    assert "terminal" in ran.stderr
    assert not trust.is_trusted(workspace)
    assert (await kimi("config", "trust", str(workspace / "none"), cwd=workspace)).exit_code == 0


async def _on_terminal(answer: bytes, cwd: Path) -> int:
    """`kimi-code config trust` with a terminal that says `answer`; returns the exit code."""
    ours, theirs = pty.openpty()
    try:
        command = (sys.executable, "-m", "kimi_code.cli", "config", "trust")
        process = await asyncio.create_subprocess_exec(
            *command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.write(ours, answer)
        async with asyncio.timeout(60):
            return await process.wait()
    finally:
        os.close(ours)
        os.close(theirs)


async def test_trust_on_a_terminal_is_no_unless_yes_is_said(workspace: Path) -> None:
    (workspace / ".kimi-code").mkdir()
    (workspace / ".kimi-code" / "config.toml").write_text("[verify]\ncommands = ['make']\n")
    assert await _on_terminal(b"\n", workspace) == 5
    assert not trust.is_trusted(workspace)
    assert await _on_terminal(b"y\n", workspace) == 0
    assert trust.is_trusted(workspace)
    assert (await kimi("config", "trust", "--forget", cwd=workspace)).exit_code == 0
    assert not trust.is_trusted(workspace)
