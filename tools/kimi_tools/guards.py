"""Which paths of a workspace and of a home a boxed command may not write or see. Knows nothing of bubblewrap.

A path that must stay read-only although it does not exist needs something to mount over, and that leaves an
empty folder on the disk. `Placeholders` keeps count of them across processes and takes them away again.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec

GUARDED = (".git", ".kimi-code", ".agents", ".mcp.json")

_HOME_SECRETS = (
    ".ssh", ".aws", ".azure", ".gnupg", ".kube", ".docker", ".netrc", ".git-credentials", ".pypirc",
    ".npmrc", ".password-store", ".pgpass", ".vault-token", ".boto", ".config/gh", ".config/gcloud",
    ".config/hub", ".config/kimi-code-local", ".local/share/kimi-code-local", ".local/share/keyrings",
    ".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials",
    ".terraform.d/credentials.tfrc.json", ".claude.json", ".claude", ".codex", ".kimi", ".mozilla",
    ".config/google-chrome", ".config/chromium", ".bash_history", ".zsh_history",
)  # fmt: skip
_SYSTEM_SECRETS = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/ssh", "/etc/ssl/private",
    "/etc/krb5.keytab",
)  # fmt: skip
# Where the workspace is a home: what the next shell or git of the user would run.
_HOME_STARTUP = (
    ".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshrc", ".zshenv", ".zprofile", ".gitconfig",
    ".config", ".local", ".vimrc",
)  # fmt: skip
_ENV_SAMPLES = (".example", ".sample", ".template", ".dist")


def secrets(home: Path) -> list[Path]:
    """Existing files and folders that no command needs to read, links followed."""
    return [Path(os.path.realpath(name)) for name in _candidates(str(home)) if os.path.exists(name)]


@cache
def _candidates(home: str) -> tuple[str, ...]:
    """Asked before every command, so without the cost of path objects."""
    return (*(f"{home}/{name}" for name in _HOME_SECRETS), *_SYSTEM_SECRETS)


def env_files(root: Path) -> list[Path]:
    """`.env` and its variants at the top of a workspace, but not the samples."""
    with os.scandir(root) as entries:
        found = [
            Path(entry.path)
            for entry in entries
            if (entry.name == ".env" or entry.name.startswith(".env."))
            and not entry.name.endswith(_ENV_SAMPLES)
            and entry.is_file()
        ]
    return [path.resolve() for path in found]


def startup_files(root: Path, home: Path) -> list[Path]:
    """Start-up files of the home's owner, where the home is writable because it lies in the workspace."""
    if not home.is_relative_to(root):
        return []
    return [path for name in _HOME_STARTUP if (path := home / name).exists() and not path.is_symlink()]


def git_dirs(root: Path) -> list[Path]:
    """Where a `.git` that is a file or a link really leads: the gitdir and what it shares. Never raises."""
    dot_git = root / ".git"
    found: list[Path] = []
    if dot_git.is_symlink():
        found.append(dot_git.resolve())
    elif dot_git.is_file():
        text = _first_line(dot_git)
        if text.startswith("gitdir:"):
            git_dir = (root / text.removeprefix("gitdir:").strip()).resolve()
            found.append(git_dir)
            common = _first_line(git_dir / "commondir")
            if common:
                found.append((git_dir / common).resolve())
    return [path for path in found if path.exists()]


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline(4096).strip()
    except OSError:
        return ""


class Placeholders:
    """The absent guarded paths of a root, for the time of one command.

    All are folders, the one for a file too: git does not list an empty folder as untracked. The lock is
    shared by all commands in the root; whoever leaves last takes the placeholders away. Their names are
    written down first, so that what a killed process left is taken away by the next.
    """

    def __init__(self, state: Path, root: Path) -> None:
        mark = hashlib.blake2b(os.fsencode(root), digest_size=12).hexdigest()
        folder = state / "guards"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(folder / mark, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        recorded = set(self._record())
        # A root that cannot be written needs no placeholders, and could not hold them.
        names = GUARDED if os.access(root, os.W_OK) else ()
        self.paths = [path for name in names if _is_absent(path := root / name, recorded)]
        new = [path for path in self.paths if str(path) not in recorded]
        if new:
            os.write(self._fd, b"".join(msgspec.json.encode(str(path)) + b"\n" for path in new))

    def _record(self) -> list[str]:
        size = os.fstat(self._fd).st_size
        lines = os.pread(self._fd, size, 0).splitlines()
        return [msgspec.json.decode(line, type=str) for line in lines]

    def close(self) -> None:
        """Leave; the last one out removes what is still empty."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            for name in self._record():
                _remove_empty(Path(name))
            os.ftruncate(self._fd, 0)
        finally:
            os.close(self._fd)


def _is_absent(path: Path, recorded: set[str]) -> bool:
    """Absent, or there only as what an earlier command left."""
    return not os.path.lexists(path) or (str(path) in recorded and _is_empty_folder(path))


def _is_empty_folder(path: Path) -> bool:
    try:
        return not path.is_symlink() and not any(path.iterdir())
    except OSError:
        return False


def _remove_empty(path: Path) -> None:
    """Remove an empty folder; one that has content by now belongs to someone."""
    with contextlib.suppress(OSError):
        path.rmdir()


class Links:
    """Guarded names that are links. A mount cannot hold a link in place, so it is put back afterwards."""

    def __init__(self, roots: Sequence[Path]) -> None:
        named = [root / name for root in roots for name in GUARDED]
        self._targets = {path: os.readlink(path) for path in named if path.is_symlink()}

    def restore(self) -> None:
        """Put back each link that is gone or leads elsewhere; what took its place is moved aside."""
        for path, target in self._targets.items():
            if path.is_symlink() and os.readlink(path) == target:
                continue
            if os.path.lexists(path):
                path.rename(path.with_name(f"{path.name}.moved-aside-{os.urandom(4).hex()}"))
            path.symlink_to(target)
