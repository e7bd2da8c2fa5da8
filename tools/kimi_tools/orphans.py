"""Finds and ends the processes that an unboxed command left behind. Knows only /proc.

Each command carries a mark of its own in its environment; whatever carries it afterwards is its offspring,
whatever session or parent it has by now.
"""

import contextlib
import os
import signal
from pathlib import Path

MARKER = "KIMI_CODE_CALL"


def end_marked(mark: str, leader: int) -> tuple[str, ...]:
    """Kill what carries the mark, and the leader's process group; the names of what was killed.

    Repeats while new ones appear, so that something that forks quickly is caught as well.
    """
    if leader > 0:
        _kill_group(leader)
    names: list[str] = []
    for _ in range(20):
        found = _marked(f"{MARKER}={mark}".encode())
        if not found:
            break
        for pid in found:
            name = _name(pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                names.append(name)
    return tuple(dict.fromkeys(names))


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _marked(needle: bytes) -> list[int]:
    found: list[int] = []
    me = os.getpid()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == me:
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb", buffering=0) as file:
                environ = file.read(1 << 20)
        except OSError:
            continue
        # An ended process that nobody has waited for yet has no environment any more.
        if needle in environ:
            found.append(int(entry))
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return str(pid)
