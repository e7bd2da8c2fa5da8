"""Runs the search program: ripgrep where it is installed, else a slow stand-in of our own. Knows no tool.

It is looked up where this installation put it and in the system's folders, never in PATH or the workspace.
"""

import asyncio
import contextlib
import os
import re
import resource
import signal
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec

from kimi_tools import globs, guards
from kimi_tools.base import ToolFailure
from kimi_tools.files import TEMPORARY

SECONDS = 10.0

_AFTER_FULL_S = 0.2
_BLOCK = 1 << 18
_ERROR_BYTES = 4000
_MEMORY = 600_000_000
_TOO_LARGE = "100M"
_SYSTEM = ("/usr/local/bin/rg", "/usr/bin/rg", "/bin/rg", "/opt/homebrew/bin/rg")
_STAND_IN = Path(__file__).with_name("slowgrep.py")
_BASE = (
    "--no-config", "--color=never", "--hidden", "--no-require-git", "--no-ignore-global", "--no-follow",
    "--glob=!.git", f"--glob=!{TEMPORARY}*", "--glob=!.env",
)  # fmt: skip
SLOW = "ripgrep is not installed: this is the slow search in Python"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for in the real path `where`, a folder or a file.

    options: flags of ripgrep, of those that the stand-in knows. pattern: None to list files. glob: a hint
    that only files matching it are wanted; others may come all the same. kept: bytes of output to hold.
    """

    where: Path
    options: tuple[str, ...]
    pattern: str | None = None
    glob: str = ""
    kept: int = 1_000_000


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`data` is what was printed, as far as it was held; `more` counts lines or names after that.

    notes: what the reader must know (a time limit, the slow search, what could not be read).
    """

    data: bytes
    more: int = 0
    cut: bool = False
    notes: tuple[str, ...] = ()


@cache
def program() -> Path | None:
    """The packaged ripgrep, else the system's; None where there is none."""
    packaged = [
        sysconfig.get_path("scripts"),
        os.path.join(sys.prefix, "bin"),
        os.path.dirname(sys.executable),
    ]
    for path in [*(os.path.join(folder, "rg") for folder in packaged), *_SYSTEM]:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return Path(path)
    return None


async def search(ask: Ask, rg: Path | None) -> Answer:
    """Run `rg`, or the stand-in for None, within 10 s; raises ToolFailure for a pattern that is none."""
    answer, code, error = await _run(ask, rg, ())
    if code < 0 and not answer.cut:
        # Out of memory: somewhere is a line of a gigabyte. Do without the largest files.
        answer, code, error = await _run(ask, rg, (f"--max-filesize={_TOO_LARGE}",))
        note = "files over 100 MB were left out, since one has a line too long to be searched"
        answer = msgspec.structs.replace(answer, notes=(*answer.notes, note))
    if code > 1 and not answer.cut:
        if not answer.data and ("regex" in error or "glob" in error or "unrecognized" in error):
            raise ToolFailure(f"The pattern cannot be used: {error}")
        note = f"not everything could be read: {error.splitlines()[0] if error else 'unknown reason'}"
        answer = msgspec.structs.replace(answer, notes=(*answer.notes, note))
    if rg is None:
        answer = msgspec.structs.replace(answer, notes=(*answer.notes, SLOW))
    return answer


def _command(ask: Ask, rg: Path | None, extra: Sequence[str], ignore_file: str) -> tuple[list[str], Path]:
    folder, target = (ask.where, "./") if ask.where.is_dir() else (ask.where.parent, f"./{ask.where.name}")
    first = [str(rg)] if rg else [sys.executable, "-I", str(_STAND_IN)]
    narrowed = [f"--ignore-file={ignore_file}"] if ignore_file else []
    pattern = [f"--regexp={ask.pattern}"] if ask.pattern is not None else []
    flags = [*_BASE, *_secrets(folder), *ask.options, *extra, *narrowed, *pattern]
    return [*first, *flags, "--", target], folder


def _secrets(folder: Path) -> Iterator[str]:
    """Rules that keep a search out of the secrets that lie in this folder: it may be someone's home."""
    for path in guards.secrets(Path(os.path.expanduser("~"))):
        if path.is_relative_to(folder) and path != folder:
            name = re.sub(r"([*?\[\]{}\\!])", r"\\\1", str(path.relative_to(folder)))
            yield f"--glob=!/{name}"


async def _run(ask: Ask, rg: Path | None, extra: Sequence[str]) -> tuple[Answer, int, str]:
    """The answer, the exit code (negative: a signal) and what was said on stderr."""
    rules, pass_fds = "", ()
    if ask.glob:
        read_end, write_end = os.pipe()
        with os.fdopen(write_end, "wb") as file:
            file.write(globs.ignore_lines(ask.glob).encode(errors="surrogateescape"))
        rules, pass_fds = f"/dev/fd/{read_end}", (read_end,)
    command, folder = _command(ask, rg, extra, rules)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=pass_fds,
            limit=_BLOCK,
        )
    except OSError as failure:
        raise ToolFailure(f"The search could not be started: {failure.strerror}.") from failure
    finally:
        for descriptor in pass_fds:
            os.close(descriptor)
    try:
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
        answer, error = await _collect(process, ask.kept)
        if not answer.cut:
            await process.wait()
    finally:
        if process.returncode is None:
            # Not process.kill(): that would take the exit status away from asyncio, which waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()
    return answer, process.returncode or 0, error


async def _collect(process: asyncio.subprocess.Process, room: int) -> tuple[Answer, str]:
    stdout, stderr = process.stdout, process.stderr
    assert stdout is not None
    assert stderr is not None
    errors = asyncio.create_task(_drain(stderr))
    kept = bytearray()
    more = 0
    notes: tuple[str, ...] = ()
    deadline = time.monotonic() + SECONDS
    full_at: float | None = None
    cut = False
    try:
        while True:
            until = deadline if full_at is None else min(deadline, full_at + _AFTER_FULL_S)
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                block = await stdout.read(_BLOCK)
            if not block:
                break
            if full_at is None:
                kept += block
                if len(kept) > room:
                    full_at = time.monotonic()
            else:
                more += block.count(b"\0")  # one after each name, and one name to each line
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            error = await errors
    except TimeoutError:
        cut, error = True, ""
        if full_at is None:
            notes = (f"stopped after {SECONDS:.0f} s; search a smaller folder or use a simpler pattern",)
    finally:
        errors.cancel()
    return Answer(data=bytes(kept), more=more, cut=cut, notes=notes), error


async def _drain(stream: asyncio.StreamReader) -> str:
    """The beginning of what was said; all of it is read."""
    said = b""
    while block := await stream.read(_BLOCK):
        said = (said + block)[:_ERROR_BYTES]
    return said.decode(errors="replace").strip().removeprefix("rg: ")
