"""The shape of a tool and of what it returns. Knows no tool in particular."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec


class ToolFailure(Exception):
    """The call could not be done; the text tells the model what to do instead."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What a call would do, resolved before it is done; `paths` are absolute with links followed."""

    kind: Literal["none", "read", "write", "execute"]
    target: str
    paths: tuple[str, ...] = ()
    command: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`content` for the model, `details` for people; `changed`: files written, relative to the root."""

    content: str
    details: dict[str, Any] = {}
    is_error: bool = False
    changed: tuple[str, ...] = ()


class FileStamp(msgspec.Struct, frozen=True, kw_only=True):
    """Tells whether a file is still the one that was read."""

    inode: int
    size: int
    mtime_ns: int
    digest: str


def _no_stamps() -> dict[str, FileStamp]:
    return {}


@dataclass(slots=True, kw_only=True)
class Hands:
    """What the tools of one agent share.

    root: the workspace, absolute and real. extra_roots: further folders the user gave (`--add-dir`).
    spill: a private folder for what was clipped from an output, readable by Read.
    seen: real path -> stamp of the file when it was last read or written by a tool.
    """

    root: Path
    spill: Path
    extra_roots: tuple[Path, ...] = ()
    seen: dict[str, FileStamp] = field(default_factory=_no_stamps)


class Tool(Protocol):
    """One tool. The schema of `Arguments`, a Struct with forbid_unknown_fields, is what the model sees."""

    name: str

    @property
    def Arguments(self) -> type[msgspec.Struct]:  # noqa: N802
        # A property, so that a tool may have a type of its own.
        ...

    def effect(self, hands: Hands, args: Any) -> Effect:
        """Resolve what the call would do; raises ToolFailure."""
        ...

    async def run(self, hands: Hands, args: Any, output: Callable[[str], None]) -> Outcome:
        """Do it; raises ToolFailure. `output` takes live output as it comes."""
        ...
