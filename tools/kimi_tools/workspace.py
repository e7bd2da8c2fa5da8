"""The folder as a whole: what changed in it, verification commands in it and in throw-away copies of it."""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from kimi_tools import copies
from kimi_tools.base import ToolFailure
from kimi_tools.box import BASH, Box, BoxFailed, Launch
from kimi_tools.detect import detect
from kimi_tools.failures import conclusion, failing_tests, summarise
from kimi_tools.runner import run
from kimi_tools.snapshot import Checkpoint, Snapshots
from kimi_tools.suspects import suspects

# Enough to find every failure in; what is given on is far less.
_HEAD_BYTES, _TAIL_BYTES = 100_000, 400_000
_OUTPUT_CHARS = 32_000

# Nothing of a run may stay behind as a change of the workspace.
_ENVIRONMENT = {
    "NO_COLOR": "1",
    "PYTEST_ADDOPTS": "-o cache_dir=/tmp/.kimi-code-pytest",
    "PYTHONUNBUFFERED": "1",
}
_NO_PYTEST = "No module named pytest"


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """`exit_code` None: it could not be started; 124: cut off by its time limit (`timed_out`).

    `summary` is the output cut to what matters, `output` the clipped whole, `failures` the failing tests'
    names.
    """

    command: str
    exit_code: int | None
    summary: str
    output: str = ""
    failures: tuple[str, ...] = ()
    duration_s: float = 0.0
    timed_out: bool = False


class Workspace:
    """One folder, its box, and a private folder for checkpoints and trials.

    Paths are relative to the root.
    """

    def __init__(self, root: Path, box: Box, state: Path) -> None:
        self.root = root
        self._box = box
        self._state = state
        self._snapshots = Snapshots(root, state)

    def detect_checks(self) -> tuple[str, ...]:
        """Verification commands found in the repository, best first."""
        return detect(self.root)

    async def check(self, command: str, *, timeout_s: float) -> CommandResult:
        """Run a verification command in the workspace as it is."""
        try:
            launch = self._box.launch(_shell(command), cwd=self.root, env_extra=_ENVIRONMENT)
            return await _result(command, launch, timeout_s)
        except BoxFailed as failure:
            return CommandResult(command=command, exit_code=None, summary=str(failure))

    async def trial(self, command: str, files: Mapping[str, str], *, timeout_s: float) -> CommandResult:
        """Run a command in a throw-away copy in which `files` (path -> text) have these contents."""
        contents: dict[str, tuple[bytes, int | None] | None] = {
            path: (text.encode(), None) for path, text in files.items()
        }
        return await self._in_copy(command, contents, timeout_s)

    async def checkpoint(self) -> Checkpoint:
        """Record the workspace as it is. Raises OSError or sqlite3.Error when that cannot be written."""
        return await asyncio.to_thread(self._snapshots.checkpoint)

    async def changed(self, checkpoint: str) -> tuple[str, ...]:
        """Files that differ from the checkpoint; snapshot.Unknown if there is none."""
        return await asyncio.to_thread(self._snapshots.changed, checkpoint)

    async def check_at(self, checkpoint: str, command: str, *, timeout_s: float) -> CommandResult:
        """Run a command in a throw-away copy of the workspace as it was at the checkpoint."""
        paths = await self.changed(checkpoint)
        images = await asyncio.to_thread(self._snapshots.before, checkpoint, paths)
        return await self._in_copy(command, dict(images), timeout_s)

    def read_text(self, path: str) -> str:
        """The whole text of a file. Raises OSError, UnicodeDecodeError."""
        return (self.root / path).read_text(encoding="utf-8")

    def suspects(self, hints: Sequence[str], budget_chars: int) -> Mapping[str, str]:
        """Sources a repair should look at: path -> text, most suspect first, within the budget."""
        return suspects(self.root, hints, budget_chars)

    async def _in_copy(self, command: str, contents: copies.Contents, timeout_s: float) -> CommandResult:
        try:
            contents = copies.resolve(self.root, contents)
            folder = Path(tempfile.mkdtemp(prefix="trial-", dir=self._trials()))
        except (OSError, ToolFailure) as failure:
            return CommandResult(command=command, exit_code=None, summary=str(failure))
        try:
            launch = await asyncio.to_thread(self._prepare, command, contents, folder)
            return await _result(command, launch, timeout_s)
        except (OSError, shutil.Error, BoxFailed) as failure:
            return CommandResult(command=command, exit_code=None, summary=str(failure))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _prepare(self, command: str, contents: copies.Contents, folder: Path) -> Launch:
        if self._box.overlay:
            copies.write_layer(self.root, folder, contents)
            return self._box.launch(
                _shell(command), cwd=self.root, env_extra=_ENVIRONMENT, layers=(folder,), throwaway=True
            )
        copies.write_copy(self.root, folder, contents)
        return self._box.launch(_shell(command), cwd=self.root, env_extra=_ENVIRONMENT, stand_in=folder)

    def _trials(self) -> Path:
        """A folder for layers; not in the workspace, which they are laid over."""
        folder = self._state / "trials"
        if folder.is_relative_to(self.root):
            return Path(tempfile.gettempdir())
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def _shell(command: str) -> tuple[str, ...]:
    return (BASH, "--noprofile", "--norc", "-c", command)


async def _result(command: str, launch: Launch, timeout_s: float) -> CommandResult:
    ran = await run(launch, timeout_s=timeout_s, keep=(_HEAD_BYTES, _TAIL_BYTES))
    text = ran.output.text()
    code: int | None = ran.exit_code
    if code == 1 and text.rstrip().endswith(_NO_PYTEST):
        code = None
    summary = conclusion(text) if code == 0 else summarise(text)
    if ran.timed_out:
        summary = f"{summary}\n[did not end within {timeout_s:g} s and was stopped]".lstrip()
    return CommandResult(
        command=command,
        exit_code=code,
        summary=summary,
        output=_clip(text),
        failures=failing_tests(text) if code != 0 else (),
        duration_s=ran.duration_s,
        timed_out=ran.timed_out,
    )


def _clip(text: str) -> str:
    if len(text) <= _OUTPUT_CHARS:
        return text
    half = _OUTPUT_CHARS // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out ...]\n{text[-half:]}"
