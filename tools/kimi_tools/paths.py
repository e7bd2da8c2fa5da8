"""Which paths the file tools may touch: inside the workspace, links followed. Knows no tool.

The rule is about the real target, so a link, a `..` or a sibling with a like name gets nobody out.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kimi_tools import guards
from kimi_tools.base import Hands, ToolFailure

_SYSTEM = (Path("/proc"), Path("/sys"), Path("/dev"))
_ENV_FILE = re.compile(r"\.env(?:\..+)?")
_ENV_SAMPLES = (".example", ".sample", ".template", ".dist")
_LISTED = 5000
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_CLOSE_ENOUGH = 0.5


class OutsideWorkspace(ToolFailure):
    """Refused for safety, not misunderstood: the path is outside, secret, or guarded."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """`real`: absolute, links followed. `shown`: relative to the root where it is inside, else absolute.

    `asked` is the path as the model wrote it, where it leads elsewhere than it says, else empty.
    """

    real: Path
    shown: str
    asked: str = ""

    @property
    def target(self) -> str:
        """For people who approve: what was asked for and where it really leads."""
        return f"{self.asked} -> {self.shown}" if self.asked else self.shown

    @property
    def folder_name(self) -> str:
        return "the workspace" if self.shown == "." else self.shown


def resolve(hands: Hands, given: str, *, write: bool = False) -> Place:
    """Where a path that a model gave leads; nothing is opened.

    Raises OutsideWorkspace for what is outside the workspace, a secret or (to write) guarded, ToolFailure
    for what is no path at all.
    """
    path = _absolute(hands, given)
    try:
        real = Path(os.path.realpath(path))
    except OSError as failure:
        raise ToolFailure(f"{given} cannot be looked up: {failure.strerror}.") from failure
    root = _root_of(hands, real, write=write)
    if root is None:
        verb = "written" if write else "read"
        leads = "" if os.path.normpath(path) == str(real) else f" It leads to {real}."
        raise OutsideWorkspace(
            f"{given} is outside the workspace.{leads} Only what is inside {hands.root} can be {verb}."
        )
    if real.is_symlink():
        raise ToolFailure(f"{given} is a link that leads to itself.")
    if any(real.is_relative_to(folder) and not root.is_relative_to(folder) for folder in _SYSTEM):
        raise OutsideWorkspace(f"{given} ({real}) belongs to the system, not to the workspace.")
    if root != hands.spill:
        _refuse_secret(root, real, given)
    if write:
        _refuse_guarded(root, real, given)
    name = shown(hands, real)
    straight = os.path.normpath(path) == str(real)
    return Place(real=real, shown=name, asked="" if straight else given)


def _absolute(hands: Hands, given: str) -> str:
    if not given.strip():
        raise ToolFailure("The path is empty.")
    if "\0" in given:
        raise ToolFailure("A path cannot hold a NUL character.")
    path = os.path.expanduser(given) if given.startswith("~") else given
    try:
        os.fsencode(path)
    except UnicodeEncodeError as failure:
        raise ToolFailure("The path holds characters that no file name can have.") from failure
    return os.path.join(hands.root, path)


def _root_of(hands: Hands, real: Path, *, write: bool) -> Path | None:
    if real.is_relative_to(hands.root):
        return hands.root
    for extra in hands.extra_roots:
        folder = Path(os.path.realpath(extra))
        if real.is_relative_to(folder):
            return folder
    if not write and real.is_relative_to(os.path.realpath(hands.spill)):
        return hands.spill
    return None


def is_env_file(name: str) -> bool:
    """`.env` and its variants, which hold passwords; not the samples."""
    return _ENV_FILE.fullmatch(name) is not None and not name.endswith(_ENV_SAMPLES)


def _refuse_secret(root: Path, real: Path, given: str) -> None:
    secret = is_env_file(real.name) or any(
        real.is_relative_to(path) and not root.is_relative_to(path)
        for path in guards.secrets(Path(os.path.expanduser("~")))
    )
    if secret:
        raise OutsideWorkspace(
            f"{given} ({real}) holds secrets and is kept from you. Ask the user for what you need of it."
        )


def _refuse_guarded(root: Path, real: Path, given: str) -> None:
    inside = real.relative_to(root).parts
    guarded = any(part.casefold() in guards.GUARDED for part in inside)
    if guarded or any(real.is_relative_to(folder) for folder in guards.git_dirs(root)):
        raise OutsideWorkspace(
            f"{given} ({real}) cannot be written by tools: what is in {', '.join(guards.GUARDED)} can run "
            "programs or give rights. Say to the user what should stand there."
        )


def shown(hands: Hands, real: Path) -> str:
    """A real path as it is shown: relative to the root where it is inside."""
    return str(real.relative_to(hands.root)) if real.is_relative_to(hands.root) else str(real)


def open_file(hands: Hands, place: Place) -> tuple[int, os.stat_result]:
    """A descriptor of a regular file, to be closed by the caller. Never waits, whatever stands there.

    Raises ToolFailure for what is missing (with near names), special, a folder or unreadable.
    """
    try:
        refuse_special(place, os.lstat(place.real).st_mode)
        descriptor = os.open(place.real, _READ_FLAGS)
    except FileNotFoundError as failure:
        raise ToolFailure(missing(hands, place)) from failure
    except OSError as failure:
        raise unreadable(place, failure) from failure
    try:
        status = os.fstat(descriptor)
        refuse_special(place, status.st_mode)
        refuse_moved(descriptor, place.real)
    except ToolFailure:
        os.close(descriptor)
        raise
    return descriptor, status


def unreadable(place: Place, failure: OSError) -> ToolFailure:
    if failure.errno == errno.ELOOP:
        return ToolFailure(f"{place.shown} became a link while it was opened: try again.")
    if failure.errno == errno.ENOTDIR:
        return ToolFailure(f"{place.shown} does not exist: a part of the path is a file, not a folder.")
    return ToolFailure(f"{place.shown} cannot be read: {failure.strerror}.")


def refuse_special(place: Place, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ToolFailure(f"{place.shown} is a folder, not a file. List it with Glob.")
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a link"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    raise ToolFailure(f"{place.shown} is {kind}, not a file; it was not opened.")


def refuse_moved(descriptor: int, real: Path) -> None:
    """Someone put a link in the way between the check and the opening."""
    try:
        opened = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return  # no /proc here; O_NOFOLLOW has guarded the last part of the path
    if opened != str(real):
        raise OutsideWorkspace(f"{real} was moved while it was opened (it leads to {opened} now).")


def missing(hands: Hands, place: Place) -> str:
    """That a file is not there, and which ones have near names."""
    near = list(dict.fromkeys([*_siblings(hands, place.real), *_namesakes(hands, place.real)]))[:5]
    hint = f" Near names: {', '.join(near)}." if near else " Find it with Glob."
    return f"{place.shown} does not exist.{hint}"


def _siblings(hands: Hands, real: Path) -> list[str]:
    try:
        with os.scandir(real.parent) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_LISTED), strict=False)]
    except OSError:
        return []
    wanted = real.name.casefold()
    scored = sorted(((_likeness(wanted, name.casefold()), name) for name in names), reverse=True)
    return [shown(hands, real.parent / name) for score, name in scored[:4] if score >= _CLOSE_ENOUGH]


def _likeness(one: str, other: str) -> float:
    """Shared pairs of letters, 0 to 1 (Dice's coefficient)."""
    pairs = [{text[i : i + 2] for i in range(len(text) - 1)} for text in (one, other)]
    total = len(pairs[0]) + len(pairs[1])
    return 2 * len(pairs[0] & pairs[1]) / total if total else float(one == other)


def _namesakes(hands: Hands, real: Path) -> Iterator[str]:
    """Files of exactly this name elsewhere in the workspace, as far as a short look goes."""
    left = _LISTED
    for folder, folders, names in os.walk(hands.root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        left -= len(names) + len(folders)
        if real.name in names:
            yield shown(hands, Path(folder, real.name))
        if left < 0:
            return
