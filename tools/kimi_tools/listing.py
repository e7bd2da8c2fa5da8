"""Lists the files of a workspace that matter.

Not git's own, not what is ignored, not what is installed or cached.
"""

import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pathspec

SKIPPED_FOLDERS = frozenset(
    {
        ".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".nox",
        ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".gradle", ".direnv",
    }
)  # fmt: skip
_LIST_S = 60


def files(root: Path) -> list[str]:
    """Paths relative to `root`, sorted. Ignore files are honoured; links and special files are left out."""
    listed = _by_ripgrep(root)
    return sorted(listed if listed is not None else _by_walking(root))


def _by_ripgrep(root: Path) -> list[str] | None:
    """None where the packaged ripgrep is not installed."""
    program = Path(sysconfig.get_path("scripts")) / "rg"
    if not os.access(program, os.X_OK):
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
    """Slower, and knows only the ignore file at the top."""
    try:
        lines = (root / ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    ignored = pathspec.GitIgnoreSpec.from_lines(lines)
    for folder, folders, names in os.walk(root):
        base = os.path.relpath(folder, root)
        prefix = "" if base == "." else f"{base}/"
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED_FOLDERS and not ignored.match_file(f"{prefix}{name}/")
        ]
        for name in names:
            path = f"{prefix}{name}"
            full = os.path.join(folder, name)
            if not ignored.match_file(path) and os.path.isfile(full) and not os.path.islink(full):
                yield path
