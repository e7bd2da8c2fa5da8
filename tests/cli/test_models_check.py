"""`kimi-code models check` against a real worker with a model of random weights: what it says is nonsense,
but every call of it must be valid."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from kimi_code.cli.boundary import run_command
from kimi_code.cli.models import app
from kimi_code.config import paths
from kimi_testing.tiny_model import write_tiny_model


@pytest.fixture(autouse=True)
def _workers_ended() -> Generator[None]:
    yield
    where = str(paths.run_dir()).encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if where in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGTERM)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.gguf", context=4096)


async def check(*arguments: str) -> int:
    return await asyncio.to_thread(run_command, app, "models", ["check", *arguments])


async def test_all_500_calls_over_100_schemas_are_valid(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with asyncio.timeout(300):
        code = await check(str(tiny), "--calls", "500", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["wrong"] == []
    assert (found["calls"], found["valid"], found["schemas"]) == (500, 500, 100)
    assert (found["accuracy"], found["f1"]) == (1.0, 1.0)
    assert found["none"] == [10, 10]
    assert code == 0


async def test_it_says_what_was_found(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await check(str(tiny), "--calls", "3") == 0
    said = capsys.readouterr().out
    assert "schema accuracy    100.0%  (3 of 3 calls)" in said
    assert "tool call F1       1.000" in said


async def test_an_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert await check("no-such-model") == 3
    assert "no-such-model" in capsys.readouterr().err
