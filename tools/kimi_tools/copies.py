"""Prepares what a throw-away run of a workspace needs: a layer to lay over it, or a whole copy.

Runs nothing.
"""

import os
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from kimi_tools.base import ToolFailure
from kimi_tools.listing import SKIPPED_FOLDERS

Contents = Mapping[str, tuple[bytes, int | None] | None]
"""Path -> (bytes, mode or None for the mode of the file in the workspace), or None: the file is not there."""

# Too large to copy for one run, and not what a change is about: linked instead.
_LINKED = frozenset({"node_modules", ".venv", "venv", "target", ".tox", ".nox"})


def resolve(root: Path, contents: Contents) -> Contents:
    """The same by real places, links followed. Raises ToolFailure for one outside the root or in `.git`."""
    found: dict[str, tuple[bytes, int | None] | None] = {}
    for path, content in contents.items():
        real = (root / path).resolve()
        if not real.is_relative_to(root) or real == root:
            raise ToolFailure(f"{path} is not in the workspace.")
        relative = real.relative_to(root)
        if ".git" in relative.parts:
            raise ToolFailure(f"{path} belongs to git.")
        found[str(relative)] = content
    return found


def write_layer(root: Path, layer: Path, contents: Contents) -> None:
    """Fill `layer` so that laid over `root` it shows these contents."""
    for path, content in contents.items():
        _same_folders(root, layer, Path(path).parent)
        target = layer / path
        if content is None:
            if (root / path).exists():
                # A character device 0/0 is how overlayfs spells "not there".
                os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
            continue
        _write(target, root / path, content)


def write_copy(root: Path, copy: Path, contents: Contents) -> None:
    """Fill `copy` with the workspace, but for `.git` and caches, and with these contents."""

    def ignore(_folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name in SKIPPED_FOLDERS or name in _LINKED]

    shutil.copytree(root, copy, symlinks=True, ignore=ignore, dirs_exist_ok=True)
    for name in _LINKED:
        if (root / name).is_dir():
            (copy / name).symlink_to(root / name)
    for path, content in contents.items():
        target = copy / path
        if content is None:
            target.unlink(missing_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, root / path, content)


def _same_folders(root: Path, layer: Path, relative: Path) -> None:
    """The folders down to `relative`, with the modes they have in the workspace.

    The topmost layer's count.
    """
    for folder in reversed([relative, *relative.parents]):
        target = layer / folder
        if not target.exists():
            target.mkdir()
        if (root / folder).is_dir():
            shutil.copymode(root / folder, target)


def _write(target: Path, original: Path, content: tuple[bytes, int | None]) -> None:
    data, mode = content
    target.write_bytes(data)
    now = time.time()
    try:
        found = original.stat()
    except OSError:
        os.chmod(target, mode if mode is not None else 0o644)
        return
    os.chmod(target, mode if mode is not None else stat.S_IMODE(found.st_mode))
    # Python takes its cached bytecode for current when second and size agree.
    if int(found.st_mtime) == int(now) and found.st_size == len(data):
        now += 1
    os.utime(target, (now, now))
