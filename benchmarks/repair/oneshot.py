"""One-shot prompting of the same model, through the runtime's OpenAI API: a prompt, an answer, no feedback.

The answer's code block is put in the place of the function with the very code that the agent uses, so that
the comparison is between asking once and the loop, not between two ways to read an answer.
"""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx2
import msgspec

from benchmarks.measured import environment, kimi_code
from benchmarks.repair.judge import judge
from benchmarks.repair.rows import OneShotRow
from benchmarks.repair.tasks import Task
from kimi_code.agent.candidates import proposed_files

SYSTEM = "You are an expert programmer. You find and fix bugs."
TEMPERATURE = 0.7
ANSWER_TOKENS = 1200
OUTPUT_CHARS = 1500
JUDGE_S = 10.0
START_S = 180.0


class ServeFailed(Exception):
    """`kimi-code serve` did not answer; the text says what it printed."""


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage = _Usage()


class Asker(Protocol):
    """Anything that answers a prompt."""

    def ask(self, prompt: str, *, temperature: float, seed: int) -> tuple[str, int, int]: ...


class Served:
    """`with Served() as served:` a running `kimi-code serve` on a private socket."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="serve-"))
        self._log = (self._folder / "log").open("w+")
        self._process: subprocess.Popen[str] | None = None
        transport = httpx2.HTTPTransport(uds=str(self._folder / "socket"))
        self._client = httpx2.Client(transport=transport, base_url="http://localhost", timeout=600)

    def __enter__(self) -> Self:
        command = [kimi_code(), "serve", "--socket", str(self._folder / "socket")]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            text=True,
            env=environment(),
        )
        try:
            self._wait()
        except ServeFailed:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, prompt: str, *, temperature: float, seed: int) -> tuple[str, int, int]:
        """The answer, prompt tokens, completion tokens. Raises httpx2.HTTPError, msgspec.MsgspecError."""
        body: dict[str, Any] = {
            "model": "default",
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}],
            "temperature": temperature,
            "seed": seed,
            "max_tokens": ANSWER_TOKENS,
        }
        response = self._client.post("/v1/chat/completions", json=body)
        response.raise_for_status()
        answer = msgspec.json.decode(response.content, type=_Answer)
        text = answer.choices[0].message.content or ""
        return text, answer.usage.prompt_tokens, answer.usage.completion_tokens

    def _wait(self) -> None:
        began = time.monotonic()
        while time.monotonic() - began < START_S:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                if self._client.get("/v1/models", timeout=5).status_code == 200:
                    self.ask("Say hi.", temperature=0, seed=0)
                    return
            except httpx2.TransportError:
                time.sleep(0.2)
        self._log.seek(0)
        raise ServeFailed(f"kimi-code serve did not answer:\n{self._log.read()[-1000:]}")

    def _end(self) -> None:
        self._client.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def prompt_for(task: Task) -> str:
    """The source and what its tests print, and a request for the whole corrected function.

    Of the wordings tried this is the best for one answer: asked for the code alone, the embedded model
    repaired 9 of 19 tasks; asked to find the bug first, 5 (it then writes what its wrong guess needs).
    """
    printed = judge(task, task.source, seconds=JUDGE_S).output
    start = printed.find("= FAILURES =")
    shown = printed[max(printed.rfind("\n", 0, start) + 1, 0) if start >= 0 else 0 :][:OUTPUT_CHARS]
    return (
        f"The tests of {task.name} fail. Find and fix the bug in {task.module_file}.\n\n"
        f"{task.module_file}:\n```python\n{task.source.rstrip()}\n```\n\n"
        f"`python -m pytest -q` prints:\n\n```\n{shown.rstrip()}\n```\n\n"
        "Rewrite the function so that it does what its docstring says and the tests pass. Answer with the "
        "complete corrected function only, in one python code block, without explanation."
    )


def run_one_shot(task: Task, model: Asker, *, seconds: float, most: int) -> OneShotRow:
    """A greedy answer, then sampled ones until the time is up or there are `most`.

    An answer begun in time is counted, which favours one-shot prompting a little. Judging costs no time here.
    """
    prompt = prompt_for(task)
    verdicts: dict[str, bool] = {}
    spent = first_seconds = 0.0
    samples = passed = 0
    first, tokens = False, (0, 0)
    while samples == 0 or (samples < most and spent < seconds):
        began = time.perf_counter()
        temperature = 0.0 if samples == 0 else TEMPERATURE
        text, asked, written = model.ask(prompt, temperature=temperature, seed=samples)
        spent += time.perf_counter() - began
        holds = _holds(task, text, verdicts)
        if samples == 0:
            first, first_seconds, tokens = holds, spent, (asked, written)
        samples += 1
        passed += holds
    return OneShotRow(
        first=first,
        first_seconds=round(first_seconds, 2),
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        samples=samples,
        passed=passed,
        seconds=round(spent, 2),
    )


def _holds(task: Task, answer: str, verdicts: dict[str, bool]) -> bool:
    source = proposed_files(answer, {task.module_file: task.source}).get(task.module_file)
    if source is None:
        return False
    if source not in verdicts:
        verdicts[source] = judge(task, source, seconds=JUDGE_S).passed
    return verdicts[source]
