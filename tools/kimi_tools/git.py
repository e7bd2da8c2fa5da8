"""Asks git about a repository without running anything the repository chose. Knows no box.

A repository's configuration can name programs (hooks, monitors, filters, pagers, drivers): every one of them
is switched off on the command line, filters by the names they have there. gitpython is slow to import: what
only needs the branch asks githead.
"""

import os
import shutil
from pathlib import Path

import msgspec

from kimi_tools.githead import head_branch

# gitpython looks for git when it is imported, and fails there if this is not set and git is missing.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
import git

# safe.bareRepository: no repository that was planted inside another. ignoreSubmodules: each has its own
# config.
_HARDENED = {
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.pager": "cat",
    "core.sshCommand": "false",
    "core.askPass": "",
    "core.editor": "false",
    "core.attributesFile": "/dev/null",
    "credential.helper": "",
    "diff.external": "",
    "diff.ignoreSubmodules": "all",
    "gpg.program": "false",
    "protocol.allow": "never",
    "safe.bareRepository": "explicit",
    "status.submoduleSummary": "false",
}
_KEPT = ("HOME", "LANG", "PATH", "USER", "XDG_CONFIG_HOME")
_ENVIRONMENT = {
    "GIT_CONFIG_COUNT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
    "PAGER": "cat",
}
_TIMEOUT_S = 10
_ENV = "/usr/bin/env"


class GitState(msgspec.Struct, frozen=True, kw_only=True):
    """`branch`: its name, or a short commit id where none is checked out. Counts are files."""

    branch: str
    staged: int = 0
    changed: int = 0
    untracked: int = 0

    @property
    def clean(self) -> bool:
        return not (self.staged or self.changed or self.untracked)


def describe(root: Path) -> GitState | None:
    """Branch and counts of what is not committed.

    None where there is no git or no repository, or it fails.
    """
    program = executable(root)
    if program is None or head_branch(root) is None:
        return None
    try:
        text = _git(program, root, ["status", "--porcelain=v2", "--branch", "--ignore-submodules=all", "-z"])
    except (git.GitCommandError, git.GitCommandNotFound, OSError):
        return None
    return _parse(text)


def executable(root: Path) -> Path | None:
    """The git to use: the first on PATH that lies in an absolute folder outside the workspace."""
    folders = [f for f in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(f)]
    safe = [f for f in folders if not Path(f).resolve().is_relative_to(root)]
    found = shutil.which("git", path=os.pathsep.join(safe))
    return Path(found) if found else None


def _git(program: Path, root: Path, arguments: list[str]) -> str:
    names = _execute(
        program, root, ["config", "--null", "--name-only", "--get-regexp", r"^filter\."], fails=True
    )
    settings = dict(_HARDENED)
    for key in filter(None, names.split("\0")):
        settings[key] = "false" if key.endswith(".required") else ""
    flags = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    return _execute(program, root, [*flags, "--no-optional-locks", "--no-pager", *arguments])


def _execute(program: Path, root: Path, arguments: list[str], *, fails: bool = False) -> str:
    """fails: an exit code other than 0 is an answer too. The environment is ours.

    Gitpython would add to its own.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ} | _ENVIRONMENT
    return git.Git(root).execute(
        [_ENV, "-i", *(f"{name}={value}" for name, value in kept.items()), str(program), *arguments],
        kill_after_timeout=_TIMEOUT_S,
        with_exceptions=not fails,
        strip_newline_in_stdout=False,
    )


def _parse(text: str) -> GitState:
    branch = commit = ""
    staged = changed = untracked = 0
    records = iter(text.split("\0"))
    for record in records:
        if record.startswith("# branch.head "):
            branch = record.removeprefix("# branch.head ")
        elif record.startswith("# branch.oid "):
            commit = record.removeprefix("# branch.oid ")[:9]
        elif record.startswith("? "):
            untracked += 1
        elif record[:2] in ("1 ", "2 ", "u "):
            staged += record[2] not in ".u"
            changed += record[3] != "."
            if record.startswith("2 "):
                next(records, None)
    return GitState(
        branch=commit if branch == "(detached)" else branch,
        staged=staged,
        changed=changed,
        untracked=untracked,
    )
