"""Which folders a person trusts, bound to the content of what would take effect. Knows no setting."""

import hashlib
from pathlib import Path

import msgspec

from kimi_code.config import paths

_WATCHED = (".kimi-code", ".agents", ".mcp.json")
_MOST_FILES, _MOST_BYTES = 1000, 8_000_000


def _file() -> Path:
    return paths.data_dir() / "trusted.json"


def _read() -> dict[str, str]:
    try:
        return msgspec.json.decode(_file().read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError):
        return {}


def watched_files(project: Path) -> list[Path]:
    """The files of a project that can take effect, sorted; links are not followed."""
    found: list[Path] = []
    for name in _WATCHED:
        top = project / name
        inside = sorted(top.rglob("*")) if top.is_dir() and not top.is_symlink() else [top]
        found += [path for path in inside if path.is_file() and not path.is_symlink()]
    return found[:_MOST_FILES]


def digest(project: Path) -> str:
    """A digest of the names and contents of the watched files."""
    total, mark = 0, hashlib.sha256()
    for path in watched_files(project):
        data = path.read_bytes()
        total += len(data)
        if total > _MOST_BYTES:
            return ""  # too much to be looked at by a person: never trusted
        mark.update(f"{path.relative_to(project)}\0{len(data)}\0".encode() + data)
    return mark.hexdigest()


def is_trusted(project: Path) -> bool:
    """Whether this folder was trusted, and nothing in it that can take effect has changed since."""
    stored = _read().get(str(project.resolve()))
    return bool(stored) and stored == digest(project)


def trust(project: Path) -> None:
    """Trust the folder as it is now."""
    known = _read()
    known[str(project.resolve())] = digest(project)
    path = _file()
    temporary = path.with_suffix(".tmp")
    temporary.touch(mode=0o600)
    temporary.write_bytes(msgspec.json.encode(known))
    temporary.replace(path)
