"""One task given to `kimi-code run`, as a person would. The outcome is judged outside of the agent."""

import tempfile
from pathlib import Path

import msgspec

from benchmarks.measured import Ran, environment, kimi_code, run
from benchmarks.repair.judge import judge
from benchmarks.repair.rows import LoopRow
from benchmarks.repair.tasks import Task
from kimi_code.events import Usage

VERIFY = "python -m pytest -q"
GRACE_S = 60.0


def prompt_for(task: Task) -> str:
    return f"The tests of {task.name} fail. Find and fix the bug in {task.module_file}."


def run_loop(task: Task, *, timeout_s: int, extra: tuple[str, ...] = ()) -> LoopRow:
    """Make a repository of the task, let the agent work in it, and run the original tests on what it left.

    `extra` are further arguments for `kimi-code run`.
    """
    with tempfile.TemporaryDirectory(prefix="repair-") as name:
        folder = Path(name).resolve() / task.name
        folder.mkdir()
        task.write(folder)
        command = [kimi_code(), "run", prompt_for(task), "--verify", VERIFY, "-o", "json"]
        command += ["--timeout", f"{timeout_s}s", "-C", str(folder), *extra]
        ran = run(command, cwd=folder, env=environment(), timeout=timeout_s + GRACE_S)
        return row_of(task, folder, ran)


def row_of(task: Task, folder: Path, ran: Ran) -> LoopRow:
    """What the agent left in `folder`, judged by the original tests, and what it said of itself."""
    result = result_object(ran.out)
    source = _text(folder / task.module_file)
    tests_changed = _text(folder / task.test_file) != task.test
    verdict = judge(task, source) if source is not None else None
    solved = verdict is not None and verdict.passed and not tests_changed
    said = ran.err if ran.code != 0 else verdict.output if verdict is not None and not solved else ""
    return LoopRow(
        solved=solved,
        exit_code=ran.code,
        seconds=round(ran.seconds, 2),
        status=result.status,
        prompt_tokens=result.usage.prompt,
        cached_tokens=result.usage.cached,
        completion_tokens=result.usage.completion,
        steps=result.steps,
        tests_changed=tests_changed,
        note=_last_line(said),
    )


class ResultObject(msgspec.Struct, frozen=True, kw_only=True):
    """What of the agent's result is recorded here. A missing one has status ""."""

    status: str = ""
    steps: int = 0
    usage: Usage = Usage()


def result_object(out: str) -> ResultObject:
    """The result on stdout, which is its last line."""
    for line in reversed(out.splitlines()):
        try:
            return msgspec.json.decode(line, type=ResultObject)
        except msgspec.DecodeError:
            continue
    return ResultObject()


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][-200:] if lines else ""
