"""Runs the shipped scripted server in a process of its own, and reads what it saw. Knows no agent."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

CHAT = "kimi_testing.server"
RESPONSES = "benchmarks.responses"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One request: `body` is its text, `own_ms` the server's own time for it."""

    path: str
    body: str
    own_ms: float = 0.0

    def decoded(self) -> Any:
        return msgspec.json.decode(self.body)


class Scripted:
    """`with Scripted({"replies": [...]}) as server:` then `server.url`, `server.requests()`.

    `module` is the server program: chat completions, or the Responses API that codex speaks.
    """

    def __init__(self, script: Mapping[str, Any], *, module: str = CHAT) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="scripted-"))
        self._record = self._folder / "requests.jsonl"
        self._module = module
        self._process: subprocess.Popen[str] | None = None
        (self._folder / "script.json").write_bytes(msgspec.json.encode(script))
        self.url = ""

    def __enter__(self) -> Self:
        script, record = str(self._folder / "script.json"), str(self._record)
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, "--script", script, "--record", record],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self._end()
            raise RuntimeError(f"{self._module} did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def requests(self) -> list[Seen]:
        """The model requests so far (those with a body), in order."""
        if not self._record.exists():
            return []
        decoder = msgspec.json.Decoder(Seen)
        seen = [decoder.decode(line) for line in self._record.read_bytes().splitlines()]
        return [each for each in seen if each.body]

    def own_seconds(self) -> float:
        return sum(each.own_ms for each in self.requests()) / 1000

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)
