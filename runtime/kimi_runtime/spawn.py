"""Finds or starts the worker process for a model. Light to import; knows nothing of what the worker does.

One worker per model file and settings, shared by every process of the user: its socket, its log and a lock
lie in one private folder. It outlives whoever started it and ends by itself when idle.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from kimi_runtime.faults import WorkerFailed

_LOAD_S = 900.0
_ANSWER_S = 20.0
_LONGEST_SOCKET = 107  # bytes, unix(7)
_LOG_LINES = 12
_LOG_BYTES = 8192

# Workers this process started: kept so that they are reaped, and not reported as lost.
_started: list[subprocess.Popen[bytes]] = []


async def ensure_worker(
    model: Path,
    *,
    run_dir: Path,
    cache_dir: Path,
    ctx: int | None,
    idle_s: float = 900,
    on_progress: Callable[[float], None] | None = None,
) -> Path:
    """The socket of a live worker for `model` with a context of `ctx` tokens (None: chosen by memory).

    Starts one where there is none, and waits until the model is loaded; `on_progress` is given the fraction
    loaded. Raises WorkerFailed with what the worker said last when it cannot be had.
    """
    model, key = _identify(model, ctx)
    place = _Place(run_dir, key)
    async with _locked(place.lock):
        process: subprocess.Popen[bytes] | None = None
        if await _health(place.socket) is None:
            process = _start(place, model, cache_dir=cache_dir, ctx=ctx, idle_s=idle_s)
        await _wait(place, process, on_progress)
    return place.socket


class _Place:
    """The files of one worker."""

    def __init__(self, run_dir: Path, key: str) -> None:
        _private(run_dir)
        self.lock = run_dir / f"{key}.lock"
        self.log = run_dir / f"{key}.log"
        self.socket = run_dir / f"{key}.sock"
        if len(os.fsencode(self.socket)) > _LONGEST_SOCKET:
            raise WorkerFailed(
                f"The path {self.socket} is too long for a socket.", hint="Use a shorter folder."
            )


def _identify(model: Path, ctx: int | None) -> tuple[Path, str]:
    """The real path of the model, and a name for its worker: another file or other settings are another
    worker."""
    try:
        model = model.resolve(strict=True)
        about = model.stat()
    except OSError as error:
        raise WorkerFailed(f"The model file {model} cannot be read: {error.strerror}.") from None
    parts = [str(model), about.st_size, about.st_mtime_ns, ctx]
    return model, hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _private(folder: Path) -> None:
    """Make a folder that is ours alone; refuse one that somebody else prepared."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = folder.lstat()
    except OSError as error:
        raise WorkerFailed(f"The folder {folder} cannot be made: {error.strerror}.") from None
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        raise WorkerFailed(f"{folder} does not belong to you.", hint="Remove it.")
    if about.st_mode & 0o077:
        folder.chmod(0o700)


@contextlib.asynccontextmanager
async def _locked(path: Path) -> AsyncGenerator[None]:
    """Hold the lock that lets only one process start this worker."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _start(
    place: _Place, model: Path, *, cache_dir: Path, ctx: int | None, idle_s: float
) -> subprocess.Popen[bytes]:
    _started[:] = [process for process in _started if process.poll() is None]
    command = [sys.executable, "-I", "-m", "kimi_runtime.worker", "--model", str(model)]
    command += ["--socket", str(place.socket), "--cache", str(cache_dir.resolve()), "--idle", str(idle_s)]
    if ctx is not None:
        command += ["--ctx", str(ctx)]
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerFailed(f"The worker process cannot be started: {error.strerror}.") from None
    finally:
        os.close(log)
    _started.append(process)
    return process


def _environment() -> dict[str, str]:
    """What a worker needs of our environment; secrets are not among it."""
    wanted = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
    prefixes = ("LC_", "GGML_", "OMP_", "GOMP_")
    return {name: value for name, value in os.environ.items() if name in wanted or name.startswith(prefixes)}


async def _wait(
    place: _Place, process: subprocess.Popen[bytes] | None, on_progress: Callable[[float], None] | None
) -> None:
    """Until the worker is ready; raises WorkerFailed when it ends before that."""
    delay = 0.02
    try:
        async with asyncio.timeout(_LOAD_S):
            while True:
                health = await _health(place.socket)
                if health is not None and health.get("status") == "ok":
                    return
                if health is not None and on_progress is not None:
                    on_progress(float(health.get("progress", 0.0)))
                if process is not None and process.poll() is not None:
                    raise _ended(place, process.returncode)
                if process is None and health is None:
                    raise _ended(place, None)
                await asyncio.sleep(delay)
                delay = min(0.2, delay * 1.3)
    except TimeoutError:
        raise WorkerFailed(
            f"The model was not loaded within {_LOAD_S / 60:.0f} minutes.", log=_tail(place.log)
        ) from None


async def _health(path: Path) -> dict[str, Any] | None:
    """What GET /health says; None when nobody listens. Raises WorkerFailed when somebody does and never
    answers."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = await reader.read(1 << 16)
                while part := await reader.read(1 << 16):
                    answer += part
            finally:
                writer.close()
    except TimeoutError:
        raise WorkerFailed(
            "The worker does not answer.", hint="End it, and it is started again when needed."
        ) from None
    except OSError:
        return None
    try:
        return json.loads(answer.partition(b"\r\n\r\n")[2])
    except ValueError:
        return {"status": "loading"}


def _ended(place: _Place, code: int | None) -> WorkerFailed:
    """Why a worker is gone, in plain words."""
    log = _tail(place.log)
    said = [line for line in log.splitlines() if line.startswith("kimi-code worker: ")]
    if said:
        after = log[log.rindex(said[-1]) + len(said[-1]) :].strip().partition("\n")[0]
        return WorkerFailed(said[-1].removeprefix("kimi-code worker: "), hint=after.strip(), log=log)
    if code == -signal.SIGKILL:
        return WorkerFailed(
            "The worker was killed while it loaded the model, most likely because memory ran out.",
            hint="Close other programs, choose a smaller model or a smaller context.",
            log=log,
        )
    if code is not None and code < 0:
        return WorkerFailed(
            f"The worker crashed while it loaded the model ({signal.Signals(-code).name}).",
            hint="The model file may be damaged. Fetch it again: kimi-code models pull",
            log=log,
        )
    return WorkerFailed(
        "The worker ended before the model was loaded.", hint=f"Its log: {place.log}", log=log
    )


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_LOG_LINES:])
