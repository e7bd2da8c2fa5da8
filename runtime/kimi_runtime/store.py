"""The models on this machine: one folder of GGUF files. Knows no network and no catalogue source.

    models/NAME.gguf                      complete, verified; split models keep their -0000N-of-0000M names
    models/.partial/NAME.gguf/            what a pull has so far
    models/.partial/NAME.gguf.lock        held (flock) while a pull runs

Folders have mode 0700, files 0600.
"""

import os
import re
import shutil
from pathlib import Path

import msgspec

from kimi_runtime.catalogue import find
from kimi_runtime.failures import RuntimeFailure, UnknownModel

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}\.gguf")
_SPLIT = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<count>\d{5})\.gguf")
_MAX_PARTS = 1000


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """A model in the store. `path` is what to load (the first part), `size` in bytes over all `files`."""

    name: str
    path: Path
    files: tuple[Path, ...]
    size: int
    complete: bool = True


def make_private(folder: Path) -> Path:
    """Create `folder` and its missing parents with mode 0700."""
    missing = [folder, *folder.parents]
    for each in reversed([path for path in missing if not path.exists()]):
        each.mkdir(mode=0o700, exist_ok=True)
    return folder


def file_name(text: str) -> str:
    """`text` where it can be the name of a model file in the store; raises UnknownModel otherwise."""
    if not _NAME.fullmatch(text):
        raise UnknownModel(
            f"{text!r} cannot be the name of a model file.",
            hint="It ends in .gguf and consists of letters, digits, dot, dash, underscore and plus.",
        )
    return text


def parts(name: str) -> tuple[str, ...]:
    """The names of all files of the model that `name` is (a part of): one, unless it is split."""
    match = _SPLIT.fullmatch(name)
    if not match or not 1 <= int(match["count"]) <= _MAX_PARTS:
        return (name,)
    count = int(match["count"])
    return tuple(f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1))


def files_of(path: Path) -> tuple[Path, ...]:
    """The paths of all parts of a model, whether or not they exist."""
    return tuple(path.with_name(name) for name in parts(path.name))


def resolve(name_or_path: str, models_dir: Path) -> Path | None:
    """The file to load for a .gguf path, a catalogue name or a file name in the store; None: not here.

    A path is returned as it is, if it exists; of a split model always the first part, if all are there.
    """
    if name_or_path.endswith(".gguf"):
        given = Path(name_or_path).expanduser()
        if given.is_file():
            return files_of(given)[0]
        names: tuple[str, ...] = (name_or_path,) if _NAME.fullmatch(name_or_path) else ()
    else:
        entry = find(name_or_path)
        names = entry.files if entry else ()
        if _NAME.fullmatch(f"{name_or_path}.gguf"):
            names += (f"{name_or_path}.gguf",)
    for name in names:
        paths = files_of(models_dir / name)
        if all(path.is_file() for path in paths):
            return paths[0]
    return None


def installed(models_dir: Path) -> list[Installed]:
    """What is in the store, by name. A split model is one entry, `complete` only with all its parts."""
    found: dict[str, list[Path]] = {}
    try:
        paths = sorted(path for path in models_dir.iterdir() if _NAME.fullmatch(path.name) and path.is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(models_dir, error) from error
    for path in paths:
        found.setdefault(parts(path.name)[0], []).append(path)
    return [
        Installed(
            name=first.removesuffix(".gguf"),
            path=models_dir / first,
            files=tuple(files),
            size=sum(path.stat().st_size for path in files),
            complete=len(files) == len(parts(first)),
        )
        for first, files in found.items()
    ]


def remove(name: str, models_dir: Path) -> int:
    """Delete a model of the store and what is left of its pulls; returns the bytes freed.

    Never touches a file outside of `models_dir`. Raises UnknownModel when nothing of that name is there.
    """
    entry = find(name)
    wanted = {name, f"{name}.gguf", *(entry.files if entry else ())}
    firsts = {parts(each)[0] for each in wanted if _NAME.fullmatch(each)}
    freed, gone = 0, False
    try:
        for model in installed(models_dir):
            if model.path.name in firsts:
                freed, gone = freed + model.size, True
                for path in model.files:
                    path.unlink()
        for first in firsts:
            partial = partial_dir(first, models_dir)
            if partial.is_dir():
                freed, gone = freed + folder_size(partial), True
                shutil.rmtree(partial)
            lock_path(first, models_dir).unlink(missing_ok=True)
    except OSError as error:
        raise RuntimeFailure(f"{name} could not be removed: {error.strerror or error}.") from error
    if not gone:
        raise UnknownModel(f"There is no model {name!r} here.", hint="See: kimi-code models list")
    return freed


def partial_dir(name: str, models_dir: Path) -> Path:
    """Where a pull of the file `name` (of a split model: its first part) keeps what it has."""
    return models_dir / ".partial" / name


def lock_path(name: str, models_dir: Path) -> Path:
    return models_dir / ".partial" / f"{name}.lock"


def folder_size(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def file_size(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _unreadable(folder: Path, error: OSError) -> RuntimeFailure:
    return RuntimeFailure(
        f"The models folder {os.fspath(folder)} cannot be read: {error.strerror or error}.",
        hint="Check its owner and mode, or set KIMI_LOCAL_HOME to another folder.",
    )
