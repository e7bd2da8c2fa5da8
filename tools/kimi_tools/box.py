"""How a command is started: what a box is, and doing without one. Knows no tool and no model."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from kimi_tools.environment import for_command
from kimi_tools.orphans import MARKER, end_marked

BASH = next((path for path in ("/bin/bash", "/usr/bin/bash") if os.access(path, os.X_OK)), "/bin/bash")

# No machine gives out all its process ids in this time.
_BRIEF_S = 2.0


class BoxFailed(Exception):
    """The box could not be made; the text says why. The command did not run."""


class Aftermath(msgspec.Struct, frozen=True, kw_only=True):
    """`started` False: the command never ran. `left`: names of processes it left behind, ended by now."""

    started: bool
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command ready to be started once.

    aftermath: takes the process id of the ended leader, ends what it left behind and says what that was.
    close: gives back what the launch holds; call it once the command is gone.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: Path
    aftermath: Callable[[int], Aftermath]
    close: Callable[[], None]
    pass_fds: tuple[int, ...] = ()
    boxed: bool = True


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a box is made from; all paths absolute and real.

    root: the workspace, writable; as are `writable`. readable: kept visible although its surroundings are
    hidden. hidden: secrets beyond the known ones (the program's own data). state: a private folder for
    book-keeping.
    """

    root: Path
    state: Path
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()


class Box(Protocol):
    """Something that can start commands. `overlay`.

    It can show a changed copy of the root at the root's place.
    """

    @property
    def overlay(self) -> bool: ...

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
        """Make a command ready; raises BoxFailed.

        layers: folders laid over the root, the last on top; with them, or with `throwaway`, nothing that is
        written in the root stays. stand_in: a copy of the root to use in its place.
        """
        ...


class NoBox:
    """Where no box can be had and nobody agreed to do without: every launch fails and says why."""

    overlay = False

    def __init__(self, why: str) -> None:
        self._why = why

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
        """Never returns; raises BoxFailed."""
        raise BoxFailed(f"There is no sandbox here: {self._why}")


class Unboxed:
    """No box at all: for a person who said so.

    The environment is cut all the same, and orphans are hunted.
    """

    overlay = False

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def launch(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env_extra: Mapping[str, str] | None = None,
        layers: Sequence[Path] = (),
        throwaway: bool = False,
        stand_in: Path | None = None,
        network: bool = True,
    ) -> Launch:
        """A plain process. A throw-away run needs a `stand_in`; BoxFailed without one."""
        if (throwaway or layers) and stand_in is None:
            raise BoxFailed("Without the sandbox a throw-away run needs a copy of the workspace.")
        if stand_in is not None and cwd.is_relative_to(self._rules.root):
            cwd = stand_in / cwd.relative_to(self._rules.root)
        mark = os.urandom(8).hex()
        env = for_command(os.environ, boxed=False, network=True) | dict(env_extra or {}) | {MARKER: mark}

        began = time.monotonic()

        def aftermath(leader: int) -> Aftermath:
            brief = time.monotonic() - began < _BRIEF_S
            return Aftermath(started=True, left=end_marked(mark, leader, brief=brief))

        return Launch(
            argv=tuple(argv), env=env, cwd=cwd, aftermath=aftermath, close=lambda: None, boxed=False
        )
