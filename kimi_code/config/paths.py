"""Where things live. Reads the environment at each call; what it creates is private to the user.

`$KIMI_LOCAL_HOME` holds everything (config.toml, sessions/, models/ ...); without it the XDG folders do.
"""

import fcntl
import os
import stat
import tempfile
from pathlib import Path

from kimi_code.errors import StorageFailure, UsageError

_NAME = "kimi-code-local"
# A Unix socket's path is at most 107 bytes and a NUL (unix(7)); 32 are left for the socket's own name.
_LONGEST_RUN_DIR = 107 - 33


def config_dir() -> Path:
    """The folder of the user's config.toml; not created."""
    return _home() or _xdg("XDG_CONFIG_HOME", ".config")


def config_file() -> Path:
    """The user's config.toml, whether it is there or not."""
    return config_dir() / "config.toml"


def data_dir() -> Path:
    """The folder of sessions, models and caches."""
    home = _home()
    if home is not None:
        return _create(home)
    return _private(_xdg("XDG_DATA_HOME", ".local/share"))


def models_dir() -> Path:
    return _private(data_dir() / "models")


def sessions_dir() -> Path:
    return _private(data_dir() / "sessions")


def cache_dir() -> Path:
    """The folder of computed prefixes (KV); what is in it can be removed at any time."""
    return _private(data_dir() / "kv")


def run_dir() -> Path:
    """A private folder for sockets whose names have up to 32 bytes, the same for all of a user's processes.

    With `$KIMI_LOCAL_HOME` beneath it, else in `$XDG_RUNTIME_DIR`, else with the data; where that path is too
    long for a socket, a folder in /tmp with a name nobody can foresee.
    """
    home = _home()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if home is None and os.path.isabs(runtime) and _is_private(Path(runtime)) and _fits(Path(runtime, _NAME)):
        return _private(Path(runtime, _NAME))
    beneath = data_dir() / "run"
    return _private(beneath) if _fits(beneath) else _short_run_dir()


def write_private(path: Path, data: bytes) -> None:
    """Replace a file's content at once; mode 0600 whatever the umask. Raises StorageFailure."""
    _private(path.parent) if path.parent != _home() else _create(path.parent)
    try:
        # mkstemp creates with 0600.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(name, path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as failure:
        raise StorageFailure(f"{path} cannot be written: {failure.strerror}.") from failure


def _home() -> Path | None:
    home = os.environ.get("KIMI_LOCAL_HOME")
    return Path(os.path.expanduser(home)).absolute() if home else None


def _xdg(variable: str, default: str) -> Path:
    base = os.environ.get(variable, "")
    if not os.path.isabs(base):  # relative ones are invalid and to be ignored (XDG base directories)
        base = os.path.join(os.path.expanduser("~"), default)
    if not os.path.isabs(base):
        raise UsageError("You have no home folder.", hint="Set HOME or KIMI_LOCAL_HOME.")
    return Path(base, _NAME)


def _create(path: Path) -> Path:
    """The folder, with each missing one above it, made with mode 0700; an existing one stays as it is."""
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not path.is_dir():
            raise StorageFailure(f"{path} is not a folder.", hint="Move it away, or set KIMI_LOCAL_HOME.")
    except OSError as failure:
        raise StorageFailure(
            f"{path} cannot be created: {failure.strerror}.", hint="Set KIMI_LOCAL_HOME to a folder of yours."
        ) from failure
    return path


def _private(path: Path) -> Path:
    """Like _create, and an existing folder of the user loses what rights others have to it."""
    _create(path)
    status = path.lstat()
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if mine and stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _LONGEST_RUN_DIR


def _is_private(path: Path) -> bool:
    """A real folder, no link, of this user, that nobody else can enter."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and stat.S_IMODE(status.st_mode) & 0o077 == 0
    )


def _short_run_dir() -> Path:
    """The folder in /tmp whose name is noted in the data folder; a new one where that is gone or not ours."""
    note = data_dir() / "run-dir"
    descriptor = os.open(data_dir() / "run-dir.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        noted = Path(os.fsdecode(note.read_bytes())) if note.exists() else None
        if noted is not None and noted.is_absolute() and _is_private(noted):
            return noted
        fresh = Path(tempfile.mkdtemp(prefix=f"{_NAME}-", dir="/tmp"))
        write_private(note, os.fsencode(fresh))
        return fresh
    finally:
        os.close(descriptor)
