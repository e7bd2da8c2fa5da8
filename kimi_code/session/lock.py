"""One writer per file: takes the kernel's lock and says who has it. Knows nothing of what the file holds."""

import errno
import fcntl
import os
from pathlib import Path


def take(descriptor: int) -> bool:
    """Lock an open file for as long as it stays open; False where another process has it. Raises OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def holder(path: Path) -> int | None:
    """The id of the process that has the file locked, None for nobody or where it cannot be told.

    Asks /proc, so that looking takes no lock that could get into somebody's way.
    """
    try:
        wanted = path.stat()
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if "FLOCK" not in fields or "->" in fields:
            continue
        pid, place = fields[4], fields[5]
        if place.endswith(f":{wanted.st_ino}") and _has_open(pid, wanted):
            return int(pid)
    return None


def _has_open(pid: str, wanted: os.stat_result) -> bool:
    """Some file systems name their device otherwise in /proc/locks: look at the process itself."""
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), wanted):
                    return True
            except OSError:
                continue
    except OSError:
        return False
    return False
