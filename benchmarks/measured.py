"""Runs a program to its end and says how long it took and how much memory it had. Knows no program.

The peak is that of the largest process among the program and the children it waited for. The kernel counts
what the starting process had when it forked, so a benchmark that measures memory must itself stay small.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """Wall time in seconds, peak RSS in MB. `code` None: it was killed after the time limit."""

    seconds: float
    peak_mb: float
    code: int | None
    out: str
    err: str


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> Ran:
    """Run to the end, without a terminal and without input. Raises FileNotFoundError."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        killed = threading.Event()

        def end() -> None:
            killed.set()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(timeout, end)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        timer.cancel()
        # Popen must learn that its child was waited for.
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return Ran(
            seconds=seconds,
            peak_mb=usage.ru_maxrss / 1024,
            code=None if killed.is_set() else process.returncode,
            out=out.read().decode(errors="replace"),
            err=err.read().decode(errors="replace"),
        )


def kimi_code() -> str:
    """The command of this checkout, else the one on PATH. Raises FileNotFoundError."""
    here = Path(__file__).parent.parent / ".venv" / "bin" / "kimi-code"
    found = str(here) if here.exists() else shutil.which("kimi-code")
    if found is None:
        raise FileNotFoundError("kimi-code is not installed: run `make install` first")
    return found


def environment(**extra: str) -> dict[str, str]:
    """This environment, without what would point kimi-code at another model, with its `python` first."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KIMI_") or name == "KIMI_LOCAL_HOME"
    }
    binaries = Path(kimi_code()).parent
    return kept | {"PATH": f"{binaries}{os.pathsep}{kept.get('PATH', os.defpath)}"} | extra
