"""The worker as a process: started once, shared, private, ended when idle, replaced when killed."""

import asyncio
import contextlib
import json
import os
import signal
import stat
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from kimi_runtime.spawn import WorkerFailed, ensure_worker
from kimi_testing.tiny_model import CHATML, write_tiny_model

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "Read",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string", "maxLength": 10}},
            "required": ["path"],
        },
    },
}


class Place:
    """Folders for workers, and those who must be ended after the test."""

    def __init__(self, root: Path) -> None:
        self.run = root / "r"
        self.cache = root / "kv"

    async def worker(self, model: Path, *, ctx: int | None = None, idle_s: float = 60) -> Path:
        return await ensure_worker(model, run_dir=self.run, cache_dir=self.cache, ctx=ctx, idle_s=idle_s)

    def pids(self) -> list[int]:
        """Worker processes that listen on a socket of ours, found by their arguments."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if str(self.run).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place]:
    place = Place(tmp_path)
    yield place
    for pid in place.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await until(lambda: not any(_alive(pid) for pid in place.pids()))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does, a minute at most."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


def _alive(pid: int) -> bool:
    try:
        return b"Z" not in Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2][:3]
    except OSError:
        return False


def client(socket: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(socket)), base_url="http://w/v1", timeout=60
    )


async def ask(socket: Path, **fields: Any) -> tuple[int, dict[str, Any]]:
    async with client(socket) as http:
        body = {"messages": HELLO, "max_tokens": 8, "temperature": 0, **fields}
        response = await http.post("/chat/completions", json=body)
        return response.status_code, response.json()


async def events(socket: Path, **fields: Any) -> AsyncGenerator[dict[str, Any]]:
    body = {"messages": HELLO, "max_tokens": 8, "temperature": 0, "stream": True, **fields}
    async with client(socket) as http, http.stream("POST", "/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line[6:])


async def test_it_answers_whole_and_streamed(place: Place, tiny_path: Path) -> None:
    socket = await place.worker(tiny_path)
    status, whole = await ask(socket, model="anything")
    assert status == 200
    choice = whole["choices"][0]
    assert choice["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 8
    assert whole["timings"]["predicted_per_second"] > 0
    chunks = [c async for c in events(socket, return_progress=True, stream_options={"include_usage": True})]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert text == choice["message"]["content"]
    progress = [c["prompt_progress"] for c in chunks if "prompt_progress" in c]
    assert progress[0]["total"] == whole["usage"]["prompt_tokens"]
    assert progress[-1]["processed"] == progress[-1]["total"]
    assert chunks[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


async def test_candidates_are_answers_of_their_own(place: Place, tiny_path: Path) -> None:
    socket = await place.worker(tiny_path)
    _, whole = await ask(socket, n=6, temperature=2.0, seed=5)
    texts = [choice["message"]["content"] for choice in whole["choices"]]
    assert [choice["index"] for choice in whole["choices"]] == list(range(6))
    assert len(set(texts)) > 3
    assert whole["usage"]["completion_tokens"] <= 48
    _, again = await ask(socket, n=6, temperature=2.0, seed=5)
    assert [choice["message"]["content"] for choice in again["choices"]] == texts


async def test_a_required_call_is_well_formed(place: Place, tiny_path: Path) -> None:
    socket = await place.worker(tiny_path)
    for choice in ("required", {"type": "function", "function": {"name": "Read"}}):
        fields = {"tools": [TOOL], "tool_choice": choice, "max_tokens": 120, "temperature": 1.5, "seed": 1}
        _, whole = await ask(socket, **fields)
        message = whole["choices"][0]["message"]
        assert message["tool_calls"][0]["function"]["name"] == "Read"
        assert "path" in json.loads(message["tool_calls"][0]["function"]["arguments"])


async def test_what_cannot_be_answered_is_an_error_object(place: Place, tiny_path: Path) -> None:
    socket = await place.worker(tiny_path)
    for fields in (
        {"messages": []},
        {"messages": [{"role": "king", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"n": 1000},
        {"temperature": -1},
        {"tool_choice": "required"},
        {"max_tokens": 0},
    ):
        status, body = await ask(socket, **fields)
        assert status == 400
        assert body["error"]["type"] == "invalid_request_error"
        assert body["error"]["message"]
    status, body = await ask(socket, messages=[{"role": "user", "content": "long " * 5000}])
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
    assert body["error"]["n_ctx"] == 2048
    assert (await ask(socket))[0] == 200


async def test_it_is_shared_private_and_described(place: Place, tiny_path: Path) -> None:
    sockets = await asyncio.gather(*(place.worker(tiny_path) for _ in range(4)))
    assert len(set(sockets)) == 1
    assert len(place.pids()) == 1
    assert stat.S_IMODE(sockets[0].stat().st_mode) == 0o600
    for path in place.run.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.run.stat().st_mode) == 0o700
    assert await place.worker(tiny_path, ctx=512) != sockets[0]
    async with client(sockets[0]) as http:
        (model,) = (await http.get("/models")).json()["data"]
    assert model["meta"]["n_ctx"] == model["meta"]["n_ctx_train"] == 2048
    assert model["meta"]["n_params"] > 10_000


async def test_k04_it_listens_on_no_network(place: Place, tiny_path: Path) -> None:
    await place.worker(tiny_path)
    (pid,) = place.pids()
    inodes = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.exists() or fd.is_symlink()}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            assert f"socket:[{line.split()[9]}]" not in inodes


async def test_the_base_prompt_is_computed_once_in_its_life(place: Place, tiny_path: Path) -> None:
    system = {"role": "system", "content": "Rules: " + "be brief and kind. " * 12}
    first = [system, {"role": "user", "content": "one"}]
    _, fresh = await ask(await place.worker(tiny_path), messages=first)
    assert fresh["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    await until(lambda: bool(list(place.cache.rglob("*.kv"))))
    os.kill(place.pids()[0], signal.SIGKILL)
    _, again = await ask(await place.worker(tiny_path), messages=[system, {"role": "user", "content": "two"}])
    cached = again["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached > 100
    assert again["usage"]["prompt_tokens"] - cached < 40


async def kill_in_the_middle(place: Place, stream: AsyncGenerator[dict[str, Any]]) -> None:
    """Read on after the worker was killed at its first word."""
    async for chunk in stream:
        for pid in place.pids() if chunk["choices"][0]["delta"].get("content") else []:
            os.kill(pid, signal.SIGKILL)


async def test_j06_a_killed_worker_is_replaced(place: Place, tiny_path: Path) -> None:
    socket = await place.worker(tiny_path)
    stream = events(socket, max_tokens=1500, temperature=3.0)
    with pytest.raises(httpx.HTTPError):
        await kill_in_the_middle(place, stream)
    await stream.aclose()
    assert await place.worker(tiny_path) == socket
    assert (await ask(socket))[0] == 200


async def test_it_ends_when_idle(place: Place, tiny_path: Path) -> None:
    socket = await place.worker(tiny_path, idle_s=0.3)
    await until(lambda: not socket.exists())


async def test_told_to_end_it_puts_its_things_away(place: Place, tiny_path: Path) -> None:
    socket = await place.worker(tiny_path)
    await ask(socket, messages=[{"role": "user", "content": "remember this " * 8}])
    os.kill(place.pids()[0], signal.SIGTERM)
    await until(lambda: not socket.exists())
    assert list(place.cache.rglob("*.kv"))


async def test_a_client_that_leaves_frees_the_worker(place: Place, tiny_path: Path) -> None:
    socket = await place.worker(tiny_path, idle_s=0.5)
    stream = events(socket, n=8, max_tokens=1900, temperature=3.0)
    await anext(stream)
    await stream.aclose()
    await until(lambda: not socket.exists())  # it can only be idle once the job is gone


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


DAMAGES = {
    "truncated": _cut,
    "bad magic": lambda data: b"NOPE" + data[4:],
    "empty": lambda _: b"",
    "huge n_kv": lambda data: data[:16] + (1 << 63).to_bytes(8, "little") + data[24:],
    "huge n_tensors": lambda data: data[:8] + (1 << 62).to_bytes(8, "little") + data[16:],
    "noise": lambda data: data[:40] + os.urandom(2000) + data[2040:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_j04_a_damaged_file_is_a_sentence(
    place: Place, tiny_path: Path, tmp_path: Path, damage: Any
) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(damage(tiny_path.read_bytes()))
    with pytest.raises(WorkerFailed) as caught:
        await place.worker(path)
    assert "bad.gguf" in caught.value.message
    assert "Traceback" not in caught.value.message + caught.value.hint


async def test_a_missing_file_is_a_sentence(place: Place) -> None:
    with pytest.raises(WorkerFailed, match=r"nothing\.gguf"):
        await place.worker(Path("nothing.gguf"))


async def test_j01_a_hostile_template_is_an_error_and_the_worker_lives(place: Place, tmp_path: Path) -> None:
    hostile = (
        "{% if messages[0].content == 'hello' %}"
        "{{ cycler.__init__.__globals__.os.popen('touch " + str(tmp_path / "canary") + "').read() }}"
        "{% endif %}" + CHATML
    )
    socket = await place.worker(write_tiny_model(tmp_path / "h.gguf", template=hostile))
    status, body = await ask(socket)
    assert (status, body["error"]["code"]) == (500, "bad_template")
    assert not (tmp_path / "canary").exists()
    assert (await ask(socket, messages=[{"role": "user", "content": "other"}]))[0] == 200
