"""Finds and ends the processes that an unboxed command left behind. Knows only /proc.

Each command carries a mark of its own in its environment; whatever carries it afterwards is its offspring,
whatever session or parent it has by now. What also cleared its environment is found by the output it still
holds.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

MARKER = "KIMI_CODE_CALL"
_ROUNDS = 20


def end_marked(mark: str, leader: int, *, brief: bool) -> tuple[str, ...]:
    """Kill what carries the mark and what is left of the leader's process group; the names of the marked.

    brief: the leader ran too shortly for process ids to have gone round, so that older processes are not its
    offspring and need not be looked at.
    """
    needle = f"{MARKER}={mark}".encode()
    oldest = leader if brief and _newest() >= leader else 0
    names = _end_all(lambda pid: pid >= oldest and needle in _environ(pid))
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    return names


def end_holders(pipe: int) -> tuple[str, ...]:
    """Kill every other process that has the other end of this pipe; the names of those."""
    target = f"pipe:[{os.fstat(pipe).st_ino}]"
    return _end_all(lambda pid: target in _open_files(pid))


def _end_all(belongs: Callable[[int], bool]) -> tuple[str, ...]:
    """Repeats while new ones appear, so that something that forks quickly is caught as well."""
    names: list[str] = []
    for _ in range(_ROUNDS):
        found = [pid for pid in _others() if belongs(pid)]
        if not found:
            break
        for pid in found:
            name = _name(pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                names.append(name)
    return tuple(dict.fromkeys(names))


def _newest() -> int:
    """The process id that was given out last."""
    return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[-1])


def _others() -> list[int]:
    me = os.getpid()
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != me]


def _environ(pid: int) -> bytes:
    """Empty for one that ended or belongs to someone else."""
    try:
        descriptor = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 1 << 18)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _open_files(pid: int) -> Iterator[str]:
    try:
        for entry in os.listdir(f"/proc/{pid}/fd"):
            yield os.readlink(f"/proc/{pid}/fd/{entry}")
    except OSError:
        return


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return str(pid)
