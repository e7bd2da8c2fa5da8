"""Runs `kimi-code` as a user does: a process of its own, its output and its exit code."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec


@dataclass(frozen=True, kw_only=True)
class Ran:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """stdout as JSON lines."""
        return [msgspec.json.decode(line) for line in self.stdout.splitlines()]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def result(self) -> dict[str, Any]:
        return self.of("result")[-1]


async def start(*arguments: str, cwd: Path, **environment: str) -> asyncio.subprocess.Process:
    """Standard input is empty; no terminal."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kimi_code.cli",
        *arguments,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process, *, seconds: float = 120) -> Ran:
    async with asyncio.timeout(seconds):
        out, err = await process.communicate()
    assert process.returncode is not None
    ran = Ran(exit_code=process.returncode, stdout=out.decode(), stderr=err.decode())
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran


async def kimi(*arguments: str, cwd: Path, **environment: str) -> Ran:
    return await ended(await start(*arguments, cwd=cwd, **environment))
