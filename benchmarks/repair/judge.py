"""Runs a task's original tests on somebody's source and says whether they pass. Trusts no agent.

The code under test was written by a model: it runs in a folder of its own, with limits on time and memory.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.repair.tasks import Task

SECONDS = 20
MEMORY_KB = 3 << 20
_LIMITED = ["bash", "-c", f'ulimit -v {MEMORY_KB}; exec "$@"', "limited"]
_PYTEST = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`output` is what pytest printed; timed_out: it had not ended after SECONDS."""

    passed: bool
    output: str
    timed_out: bool = False


def judge(task: Task, source: str, *, seconds: float = SECONDS) -> Verdict:
    """Run the task's tests on `source` in a throw-away folder."""
    folder = Path(tempfile.mkdtemp(prefix="judge-"))
    try:
        (folder / task.module_file).write_text(source)
        (folder / task.test_file).write_text(task.test)
        return _run(folder, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, seconds: float) -> Verdict:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        [*_LIMITED, *_PYTEST],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Verdict(passed=False, output=f"The tests had not ended after {seconds:.0f} s.", timed_out=True)
    return Verdict(passed=process.returncode == 0, output=output)
