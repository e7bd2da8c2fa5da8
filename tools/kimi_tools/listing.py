"""Lists the files of a workspace that matter.

Not git's own, not what is ignored, not what is installed or cached.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from kimi_tools import ripgrep

SKIPPED_FOLDERS = frozenset(
    {
        ".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".nox",
        ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".gradle", ".direnv",
    }
)  # fmt: skip
# Marks a folder as a cache (bford.info/cachedir); cargo's target has one.
_CACHE_TAG = "CACHEDIR.TAG"
_LIST_S = 60


def files(root: Path) -> list[str]:
    """Paths relative to `root`, sorted; no links, no special files.

    Ignore files are honoured where ripgrep is installed.
    """
    listed = _by_ripgrep(root)
    found = sorted(listed if listed is not None else _by_walking(root))
    caches = tuple(path.removesuffix(_CACHE_TAG) for path in found if path.endswith(f"/{_CACHE_TAG}"))
    return [path for path in found if not path.startswith(caches)] if caches else found


def _by_ripgrep(root: Path) -> list[str] | None:
    """None where ripgrep is not installed."""
    program = ripgrep.program()
    if program is None:
        return None
    globs = [word for name in sorted(SKIPPED_FOLDERS) for word in ("--glob", f"!**/{name}/**")]
    asked = (
        "--no-config",
        "--files",
        "--hidden",
        "--null",
        "--no-require-git",
        "--no-ignore-global",
        "--no-messages",
    )
    try:
        ended = subprocess.run(
            (program, *asked, *globs),
            cwd=root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIST_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if ended.returncode > 1 and not ended.stdout:
        return None
    return [os.fsdecode(name) for name in ended.stdout.split(b"\0") if name]


def _by_walking(root: Path) -> Iterator[str]:
    """Slower, and knows no ignore files."""
    for folder, folders, names in os.walk(root):
        base = os.path.relpath(folder, root)
        prefix = "" if base == "." else f"{base}/"
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        for name in names:
            full = os.path.join(folder, name)
            if os.path.isfile(full) and not os.path.islink(full):
                yield f"{prefix}{name}"
