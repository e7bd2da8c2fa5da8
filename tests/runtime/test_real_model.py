"""The embedded model itself: few and short, for what random weights cannot show."""

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx2 as httpx
import pytest

from kimi_runtime import catalogue, store
from kimi_runtime.spawn import ensure_worker

pytestmark = pytest.mark.model

# Before any test is given a home of its own.
_HOME = os.environ.get("KIMI_LOCAL_HOME") or str(Path.home() / ".local/share/kimi-code-local")
_GIVEN = os.environ.get("KIMI_TEST_MODEL")
TOOL = {
    "type": "function",
    "function": {
        "name": "Read",
        "description": "Read a file.",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}


@pytest.fixture
def model() -> Path:
    path = Path(_GIVEN) if _GIVEN else store.resolve(catalogue.DEFAULT, Path(_HOME) / "models")
    if path is None:
        pytest.fail("the default model is not here: kimi-code models pull")
    return path


async def test_it_answers_calls_tools_and_remembers_its_base(model: Path, tmp_path: Path) -> None:
    system = {"role": "system", "content": "You are a careful assistant. " * 8}

    async def ask(socket: Path, text: str, **fields: object) -> dict[str, object]:
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        async with httpx.AsyncClient(transport=transport, timeout=300) as http:
            messages = [system, {"role": "user", "content": text}]
            body = {"messages": messages, "temperature": 0, "max_tokens": 40, "tools": [TOOL], **fields}
            response = await http.post("http://w/v1/chat/completions", json=body)
            return json.loads(response.content)

    async def worker() -> Path:
        return await ensure_worker(model, run_dir=tmp_path / "r", cache_dir=tmp_path / "kv", ctx=4096)

    def end() -> None:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and str(tmp_path / "r").encode() in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGTERM)

    try:
        socket = await worker()
        first = await ask(socket, "Use the tool to read the file src/a.py.")
        (choice,) = first["choices"]  # type: ignore[misc]
        assert choice["finish_reason"] == "tool_calls"
        call = choice["message"]["tool_calls"][0]["function"]
        assert (call["name"], json.loads(call["arguments"])["path"]) == ("Read", "src/a.py")
        assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0  # type: ignore[index]
        end()
        for _ in range(1200):
            if not socket.exists():
                break
            await asyncio.sleep(0.05)
        second = await ask(await worker(), "What is 2 + 3? Answer with the number only.", tool_choice="none")
        assert "5" in second["choices"][0]["message"]["content"]  # type: ignore[index]
        third = await ask(socket, "And a file named b.py, please read it.")
        assert third["usage"]["prompt_tokens_details"]["cached_tokens"] > 150  # type: ignore[index]
    finally:
        end()
