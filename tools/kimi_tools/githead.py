"""Reads from git's files what needs no git: where the repository is and which branch is checked out."""

from pathlib import Path


def head_branch(root: Path) -> str | None:
    """The checked-out branch, or a short commit id where there is none; None outside a repository."""
    for folder in (root, *root.parents):
        found = git_dir(folder)
        if found is not None:
            head = _line(found / "HEAD")
            if head.startswith("ref: "):
                name = head.removeprefix("ref: ").removeprefix("refs/heads/")
                return None if name == ".invalid" else name
            return head[:9] or None
    return None


def git_dir(folder: Path) -> Path | None:
    """The git directory of exactly this folder, followed to where a worktree's really is."""
    dot_git = folder / ".git"
    if dot_git.is_dir():
        return dot_git if (dot_git / "HEAD").exists() else None
    line = _line(dot_git)
    return (folder / line.removeprefix("gitdir:").strip()).resolve() if line.startswith("gitdir:") else None


def _line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline(4096).strip()
    except OSError:
        return ""
