"""Whole files in and out: read with a stamp, written by a rename. Knows no tool.

A reader sees the old file or the new one. The folder's descriptor is held while a file is written: what was
checked is what is changed.
"""

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Generator
from pathlib import Path

import msgspec

from kimi_tools.base import FileStamp, Hands, ToolFailure
from kimi_tools.paths import OutsideWorkspace, Place, open_file, refuse_moved
from kimi_tools.text import size

MAX_WHOLE = 16_000_000
"""Bytes up to which a file is read and hashed whole; larger ones are told apart by size and time alone."""

TEMPORARY = ".kimi-tmp-"
_TEMPORARY = re.compile(r"\.kimi-tmp-(\d+)-[0-9a-f]{8}")
_JOURNAL = "unfinished-edits"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it was at one moment."""

    data: bytes
    stamp: FileStamp
    mode: int


def stamp_of(status: os.stat_result, data: bytes | None) -> FileStamp:
    """`data` None: too large to be hashed."""
    digest = "" if data is None else hashlib.blake2b(data, digest_size=16).hexdigest()
    return FileStamp(inode=status.st_ino, size=status.st_size, mtime_ns=status.st_mtime_ns, digest=digest)


def read_whole(hands: Hands, place: Place) -> Snapshot:
    """All of a file up to 16 MB; raises ToolFailure for a larger one and for what `open_file` refuses."""
    descriptor, status = open_file(hands, place)
    with open(descriptor, "rb") as file:
        if status.st_size > MAX_WHOLE:
            raise ToolFailure(
                f"{place.shown} has {size(status.st_size)}: too large for this. Use a program with Bash."
            )
        try:
            data = file.read(MAX_WHOLE + 1)
            status = os.fstat(descriptor)
        except OSError as failure:
            raise ToolFailure(f"{place.shown} cannot be read: {failure.strerror}.") from failure
    return Snapshot(data=data, stamp=stamp_of(status, data), mode=status.st_mode)


def refuse_stale(hands: Hands, place: Place, now: FileStamp) -> None:
    """Raises ToolFailure for a file that was not read, or changed since (its content, not only its time)."""
    seen = hands.seen.get(str(place.real))
    if seen is None:
        raise ToolFailure(f"{place.shown} was not read yet: read it first, so that nothing in it is lost.")
    same = seen.digest == now.digest if seen.digest and now.digest else seen == now
    if not same:
        raise ToolFailure(f"{place.shown} changed since it was read: read it again, then repeat the change.")


def replace(hands: Hands, place: Place, data: bytes, *, old: Snapshot | None) -> None:
    """Put `data` in the file's place at once and note its stamp; `old` is what stands there now.

    Mode, owner and extended attributes stay. Raises ToolFailure, and then nothing has changed. The folder is
    not synced: after a power cut the old content may stand there, whole.
    """
    try:
        status = _replace(hands, place, data, old)
    except OSError as failure:
        raise _refusal(place, failure) from failure
    hands.seen[str(place.real)] = stamp_of(status, data)


def _replace(hands: Hands, place: Place, data: bytes, old: Snapshot | None) -> os.stat_result:
    if old is not None and not os.access(place.real, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only")
    place.real.parent.mkdir(parents=True, exist_ok=True)
    with _folder(place.real.parent) as folder:
        _sweep_folder(folder)
        name = f"{TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}"
        _note(hands, place.real.parent / name)
        file = os.open(name, _CREATE, 0o666, dir_fd=folder)
        try:
            try:
                _fill(file, data)
                if old is not None:
                    _take_over(file, place.real)
                os.fsync(file)
                status = os.fstat(file)
            finally:
                os.close(file)
            _refuse_changed(place, folder, old)
            os.rename(name, place.real.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
    return status


@contextlib.contextmanager
def _folder(path: Path) -> Generator[int]:
    """A descriptor of the folder that really is at this path."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        refuse_moved(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _fill(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _take_over(file: int, path: Path) -> None:
    """Owner, mode and attributes of the file that will be replaced; what may not be given away stays ours."""
    status = os.lstat(path)
    mine = os.fstat(file)
    if (status.st_uid, status.st_gid) != (mine.st_uid, mine.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(file, status.st_uid, status.st_gid)
    with contextlib.suppress(OSError):
        for name in os.listxattr(path, follow_symlinks=False):
            os.setxattr(file, name, os.getxattr(path, name, follow_symlinks=False))
    os.fchmod(file, stat.S_IMODE(status.st_mode))


def _refuse_changed(place: Place, folder: int, old: Snapshot | None) -> None:
    """The last look before the rename: someone else may have written meanwhile."""
    try:
        now = os.stat(place.real.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        now = None
    before = None if old is None else (old.stamp.inode, old.stamp.size, old.stamp.mtime_ns)
    if before != (None if now is None else (now.st_ino, now.st_size, now.st_mtime_ns)):
        raise ToolFailure(f"{place.shown} was changed by someone else just now: read it again.")


def _refusal(place: Place, failure: OSError) -> ToolFailure:
    what = {
        errno.ENOSPC: "the disk is full. Free some space, then repeat the call",
        errno.EDQUOT: "the disk quota is used up. Free some space, then repeat the call",
        errno.EROFS: "it lies on a read-only file system. Write somewhere else or ask the user",
        errno.ENAMETOOLONG: "the name is too long. Choose a shorter one",
        errno.ENOTDIR: "a part of its path is a file, not a folder",
        errno.EEXIST: "a part of its path is a file, not a folder",
        errno.EISDIR: "it is a folder",
    }.get(failure.errno or 0)
    if what is None and isinstance(failure, PermissionError):
        what = f"permission denied ({failure.strerror}). Ask the user to allow it, or write somewhere else"
    return ToolFailure(f"{place.shown} was not written: {what or failure.strerror}. Nothing has changed.")


def _note(hands: Hands, path: Path) -> None:
    """Remember where a crash could leave a temporary file. Best effort: the folder is swept as well."""
    with contextlib.suppress(OSError):
        hands.spill.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(hands.spill / _JOURNAL, "ab", opener=_private) as file:
            file.write(os.fsencode(path) + b"\0")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def sweep(hands: Hands) -> None:
    """Take away the temporary files of an earlier run of this session that was killed."""
    journal = hands.spill / _JOURNAL
    try:
        names = journal.read_bytes().split(b"\0")
        journal.unlink()
    except OSError:
        return
    for folder in {os.path.dirname(os.fsdecode(name)) for name in names if name}:
        with contextlib.suppress(OSError, OutsideWorkspace), _folder(Path(folder)) as descriptor:
            _sweep_folder(descriptor)


def _sweep_folder(folder: int) -> None:
    """Remove what a killed writer left in this folder."""
    with os.scandir(folder) as entries:
        left = [match for entry in entries if (match := _TEMPORARY.fullmatch(entry.name))]
    for match in left:
        if not _is_alive(int(match[1])):
            with contextlib.suppress(OSError):
                os.unlink(match[0], dir_fd=folder)


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return False  # an earlier process of this number: ours writes one file at a time
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
