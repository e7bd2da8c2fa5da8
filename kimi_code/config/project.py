"""Where the project of a folder begins, and safe reading of what it holds. Knows no setting.

A project is foreign: its links are not followed out of it, its pipes and devices are not opened.
"""

import os
import stat
from pathlib import Path

MAX_LEVELS = 30


def find_root(cwd: Path) -> Path:
    """The top of the git repository that holds `cwd` (real), else `cwd` itself.

    At most 30 levels up, never across a file system's boundary (as git does), and never to a folder that
    belongs to neither this user nor the owner of `cwd`: somebody's `/tmp/.git` is not our project's.
    """
    start = Path(os.path.realpath(cwd))
    try:
        here = start.stat()
    except OSError:
        return start
    owners = {os.geteuid(), here.st_uid}
    for folder in (start, *start.parents)[:MAX_LEVELS]:
        try:
            status = folder.stat()
            if status.st_dev != here.st_dev or status.st_uid not in owners:
                break
            if _is_git(folder / ".git", owners):
                return folder
        except OSError:
            break
    return start


def _is_git(path: Path, owners: set[int]) -> bool:
    """A repository's `.git`, a worktree's too; not the empty folder that stands in for one in a sandbox."""
    try:
        status = path.stat()
    except OSError:
        return False
    if status.st_uid not in owners:
        return False
    return stat.S_ISREG(status.st_mode) or (path / "HEAD").is_file()


def folders_between(root: Path, cwd: Path) -> tuple[Path, ...]:
    """`root`, ..., `cwd`, each real; `cwd` alone where it is not inside `root`."""
    here = Path(os.path.realpath(cwd))
    if not here.is_relative_to(root):
        return (here,)
    chain = [here]
    while chain[-1] != root:
        chain.append(chain[-1].parent)
    return tuple(reversed(chain))


def read_regular(path: Path, limit: int) -> bytes:
    """At most `limit` + 1 bytes of a regular file (one more than `limit` tells that there is more).

    Raises OSError for anything else, a link at the end of the path included. Never waits.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(22, "not a regular file", str(path))
        return file.read(limit + 1)
