"""Which projects the user trusts: by the content of what they bring, not by their place alone.

A project that changes what can execute or connect has to be trusted again. Nothing here asks anybody: a face
does, and one without a terminal never trusts.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from kimi_code.config import paths
from kimi_code.config.project import read_regular

Standing = Literal["nothing", "trusted", "untrusted"]

CONFIG = ".kimi-code/config.toml"
_PLACES = (".kimi-code", ".mcp.json", ".agents/skills", ".agents/agents")
_MAX_FILES = 2000
_MAX_TOTAL = 16 << 20


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a project brings: relative path -> content, read once, so that what was judged is what is used.

    `obstacle` says why this cannot be trusted whatever the user wants; empty where it can.
    """

    root: Path
    files: dict[str, bytes]
    digest: str
    obstacle: str = ""


class _Obstacle(Exception):
    pass


def snapshot(root: Path) -> Snapshot:
    """Read what a project brings. Never raises for what the project holds."""
    files: dict[str, bytes] = {}
    obstacle = ""
    try:
        left = _MAX_TOTAL
        for name in _names(root):
            data = read_regular(root / name, left)
            left -= len(data)
            if left < 0 or len(files) >= _MAX_FILES:
                raise _Obstacle(f"it brings more than {_MAX_FILES} files or {_MAX_TOTAL >> 20} MiB")
            files[name] = data
    except _Obstacle as failure:
        obstacle = str(failure)
    except OSError as failure:
        obstacle = f"{failure.filename} cannot be read: {failure.strerror}"
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(b"%d %d " % (len(os.fsencode(name)), len(data)) + os.fsencode(name) + data)
    return Snapshot(root=root, files=files, digest=digest.hexdigest(), obstacle=obstacle)


def _names(root: Path) -> Iterator[str]:
    """Relative names of the files, in no order. Raises _Obstacle for links and for what is no file."""
    if (root / ".agents").is_symlink():
        raise _Obstacle(".agents is a link")
    waiting = list(_PLACES)
    seen = 0
    while waiting:
        name = waiting.pop()
        try:
            mode = os.lstat(root / name).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISLNK(mode):
            raise _Obstacle(f"{name} is a link")
        if stat.S_ISDIR(mode):
            with os.scandir(root / name) as entries:
                listed = zip(entries, range(_MAX_FILES + 1), strict=False)
                waiting += [f"{name}/{entry.name}" for entry, _ in listed]
        elif stat.S_ISREG(mode):
            yield name
        else:
            raise _Obstacle(f"{name} is not a regular file")
        seen += 1
        if seen > 2 * _MAX_FILES:
            raise _Obstacle(f"it brings more than {_MAX_FILES} files")


def standing(shot: Snapshot) -> Standing:
    """Whether there is anything to trust, and whether exactly this is trusted."""
    if not shot.files and not shot.obstacle:
        return "nothing"
    known = not shot.obstacle and _read_store().get(str(shot.root)) == shot.digest
    return "trusted" if known else "untrusted"


def is_trusted(root: Path) -> bool:
    """True where everything the project brings is trusted, or where it brings nothing."""
    return standing(snapshot(root)) != "untrusted"


def trust(shot: Snapshot) -> None:
    """Trust exactly this from now on. Raises ValueError for what cannot be trusted."""
    if shot.obstacle:
        raise ValueError(shot.obstacle)
    store = _read_store()
    store[str(shot.root)] = shot.digest
    paths.write_private(_store_file(), msgspec.json.format(msgspec.json.encode(store)) + b"\n")


def distrust(root: Path) -> None:
    """Forget a project."""
    store = _read_store()
    if store.pop(str(root), None) is not None:
        paths.write_private(_store_file(), msgspec.json.format(msgspec.json.encode(store)) + b"\n")


def _store_file() -> Path:
    return paths.data_dir() / "trust.json"


def _read_store() -> dict[str, str]:
    """Root -> digest. What cannot be read trusts nothing."""
    try:
        return msgspec.json.decode(_store_file().read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
