"""The worker on a TCP port: for any OpenAI client that knows the token, and for nobody else."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import httpx2 as httpx
import openai
import pytest

TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def address(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [
        sys.executable,
        "-m",
        "kimi_runtime.worker",
        "--model",
        str(tiny_path),
        "--port",
        "0",
        "--idle",
        "0",
    ]
    with log.open("w") as output:
        process = subprocess.Popen(command, stderr=output, env={**os.environ, "KIMI_SERVE_TOKEN": TOKEN})
    try:
        while (found := re.search(r"http://127\.0\.0\.1:\d+/v1", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
        url = found[0]
        headers = {"authorization": f"Bearer {TOKEN}"}
        while httpx.get(url.removesuffix("/v1") + "/health", headers=headers).status_code != 200:
            assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    assert TOKEN not in log.read_text()


async def test_the_openai_client_is_served(address: str) -> None:
    async with openai.AsyncOpenAI(base_url=address, api_key=TOKEN, max_retries=0) as client:
        assert (await client.models.list()).data[0].id == "tiny"
        whole = await client.chat.completions.create(
            model="gpt-whatever",
            messages=[{"role": "user", "content": "hi"}],
            max_tokens=5,
            temperature=0,
            n=2,
        )
        assert len(whole.choices) == 2
        stream = await client.chat.completions.create(
            model="x",
            messages=[{"role": "user", "content": "hi"}],
            max_tokens=5,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        text, usage = "", None
        async for chunk in stream:
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            usage = chunk.usage or usage
        assert text == whole.choices[0].message.content
        assert usage is not None
        assert usage.completion_tokens == 5
        with pytest.raises(openai.BadRequestError, match="messages"):
            await client.chat.completions.create(model="x", messages=[])


GOOD = {"authorization": f"Bearer {TOKEN}"}
BAD = {
    "no token": ({}, 401),
    "wrong token": ({"authorization": "Bearer wrong"}, 401),
    "basic": ({"authorization": f"Basic {TOKEN}"}, 401),
    "foreign host": ({**GOOD, "host": "evil.example"}, 403),
    "host that looks like ours": ({**GOOD, "host": "127.0.0.1.evil.example:80"}, 403),
    "foreign origin": ({**GOOD, "origin": "https://evil.example"}, 403),
    "null origin": ({**GOOD, "origin": "null"}, 403),
}


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/v1/chat/completions"])
@pytest.mark.parametrize(("headers", "status"), BAD.values(), ids=BAD)
def test_k01_strangers_are_refused(address: str, path: str, headers: dict[str, str], status: int) -> None:
    response = httpx.get(address.removesuffix("/v1") + path, headers=headers)
    assert response.status_code == status
    assert "error" in response.json()
    assert "access-control-allow-origin" not in response.headers


def test_k01_our_own_host_and_origin_are_welcome(address: str) -> None:
    port = address.rpartition(":")[2].removesuffix("/v1")
    for name in ("127.0.0.1", "localhost"):
        headers = {**GOOD, "host": f"{name}:{port}", "origin": f"http://{name}:{port}"}
        assert httpx.get(address + "/models", headers=headers).status_code == 200
