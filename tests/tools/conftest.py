"""A real kernel box around a real folder, and the same commands without it as a control."""

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kimi_tools.base import Hands, Outcome, ToolFailure
from kimi_tools.bash import Bash
from kimi_tools.box import BASH, Box, Rules, Unboxed
from kimi_tools.bubblewrap import Bubblewrap, find_box, why_not
from kimi_tools.runner import Ran, run
from kimi_tools.toolset import Toolset, core_tools

Call = Callable[..., Awaitable[Outcome]]
Refusal = Callable[..., Awaitable[str]]
Inside = Callable[..., Awaitable[Ran]]
Outside = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def rules(workspace: Path, tmp_path: Path) -> Rules:
    return Rules(root=workspace, state=tmp_path / "state", readable=(tmp_path / "spill",))


@pytest.fixture
def kernel_box(rules: Rules) -> Bubblewrap:
    """Where there is no box these tests fail: they are not to pass for want of what they test."""
    box = find_box(rules)
    assert box is not None, why_not(rules)
    return box


@pytest.fixture
def inside(kernel_box: Bubblewrap, workspace: Path) -> Inside:
    """Run a shell command in the box."""

    async def go(command: str, *, timeout_s: float = 30, network: bool = False) -> Ran:
        launch = kernel_box.launch((BASH, "-c", command), cwd=workspace, network=network)
        return await run(launch, timeout_s=timeout_s)

    return go


@pytest.fixture
def outside(workspace: Path) -> Outside:
    """Run a shell command as it is: the positive control."""

    def go(command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            (BASH, "-c", command),
            cwd=workspace,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return go


@pytest.fixture(params=["boxed", "unboxed"])
def any_box(request: pytest.FixtureRequest, rules: Rules) -> Box:
    """Each test once in the box and once without."""
    if request.param == "unboxed":
        return Unboxed(rules)
    return request.getfixturevalue("kernel_box")


@pytest.fixture
def repository(workspace: Path) -> Path:
    """The workspace as a git repository with one commit."""
    (workspace / "a.txt").write_text("one\n")
    identity = {
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@b.c",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@b.c",
    }
    for arguments in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run(("git", *arguments), cwd=workspace, check=True, env=os.environ | identity)
    return workspace


def running(mark: str) -> list[int]:
    """Processes that have `mark` in their command line."""
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in command:
                found.append(int(entry))
    return found


@pytest.fixture
def processes() -> Callable[[str], list[int]]:
    return running


@pytest.fixture
def hands(workspace: Path, tmp_path: Path) -> Hands:
    return Hands(root=workspace.resolve(), spill=tmp_path / "spill")


@pytest.fixture
def toolset(hands: Hands, rules: Rules) -> Toolset:
    return Toolset(core_tools(Bash(Unboxed(rules))), hands)


@pytest.fixture
def call(toolset: Toolset) -> Call:
    """Call a tool as a model does: `await call("Read", path="a.py")`."""

    async def go(name: str, **arguments: Any) -> Outcome:
        async with asyncio.timeout(30):
            return await toolset.run(name, arguments, lambda chunk: None)

    return go


@pytest.fixture
def refusal(call: Call) -> Refusal:
    """What a call that must fail says."""

    async def go(name: str, **arguments: Any) -> str:
        with pytest.raises(ToolFailure) as caught:
            await call(name, **arguments)
        return str(caught.value)

    return go
