"""Small folders to work in: a Python package with a bug and its tests, a plain folder, a git repository.

Knows no agent. Everything is written anew each time; nothing outside the given folder is touched.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

BUGGY_SOURCE = '''"""Numbers in intervals."""


def clamp(value, low, high):
    """The value, or the bound that it is beyond."""
    if value < low:
        return low
    if value > high:
        return low
    return value


def mean(values):
    """The arithmetic mean of a sequence that is not empty."""
    return sum(values) / len(values)
'''

FIXED_SOURCE = BUGGY_SOURCE.replace(
    "if value > high:\n        return low", "if value > high:\n        return high"
)

TESTS = """from intervals import clamp, mean


def test_clamp_inside():
    assert clamp(5, 0, 10) == 5


def test_clamp_below():
    assert clamp(-3, 0, 10) == 0


def test_clamp_above():
    assert clamp(42, 0, 10) == 10


def test_mean():
    assert mean([1, 2, 3]) == 2
"""

PACKAGE: Mapping[str, str] = {
    "intervals/__init__.py": 'from intervals.core import clamp, mean\n\n__all__ = ["clamp", "mean"]\n',
    "intervals/core.py": BUGGY_SOURCE,
    "tests/test_core.py": TESTS,
    "pyproject.toml": '[project]\nname = "intervals"\nversion = "0.1"\n\n'
    '[tool.pytest.ini_options]\npythonpath = ["."]\ntestpaths = ["tests"]\n',
    "README.md": "# intervals\n\nNumbers in intervals.\n",
}
"""One bug, in `clamp` of intervals/core.py; one of four tests fails."""

_IDENTITY = {
    "GIT_AUTHOR_NAME": "A Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.com",
    "GIT_COMMITTER_NAME": "A Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.com",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def write_files(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write `files` (relative path -> content) below `root`, folders included; returns `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def plain_folder(root: Path) -> Path:
    """A few texts, no code, no repository."""
    return write_files(
        root,
        {
            "notes.txt": "one\ntwo\nthree\n",
            "sub/more.txt": "four\n",
            "empty.txt": "",
            "bytes.bin": b"\0\1\xff",
        },
    )


def buggy_package(root: Path, *, commit: bool = False) -> Path:
    """PACKAGE; with `commit` as a git repository with one commit."""
    write_files(root, PACKAGE)
    return git_repository(root) if commit else root


def git_repository(root: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """Make `root` a repository and commit everything in it: the same commit ids every time."""
    root.mkdir(parents=True, exist_ok=True)
    write_files(root, files or {})
    git(root, "init", "--quiet", "--initial-branch=main")
    commit_all(root, "Begin")
    return root


def commit_all(root: Path, message: str) -> str:
    """Commit all there is, nothing included; returns the commit's id."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(root, "rev-parse", "HEAD").strip()


def git(root: Path, *arguments: str) -> str:
    """git's output; no configuration of the machine. Raises subprocess.CalledProcessError."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=os.environ | _IDENTITY,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of every file below `root`, .git left out: equal snapshots are equal folders."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if name.parts[0] == ".git" or path.is_dir():
            continue
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        found[name.as_posix()] = (path.lstat().st_mode, content)
    return found
