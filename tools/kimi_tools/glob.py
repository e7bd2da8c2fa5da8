"""The Glob tool: files by pattern, the newest first. Knows no content."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from kimi_tools import globs
from kimi_tools.base import Effect, Hands, Outcome, ToolFailure
from kimi_tools.paths import is_env_file, missing, resolve, shown
from kimi_tools.ripgrep import Ask, program, search
from kimi_tools.text import plural, visible

LIMIT = 100
MAX_LIMIT = 1000
_LISTED_BYTES = 32_000_000


class GlobArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pattern: str
    path: str = "."
    head_limit: int = LIMIT


class Glob:
    """`find_program` says where ripgrep is, None for the slow search."""

    name = "Glob"
    Arguments = GlobArguments

    def __init__(self, find_program: Callable[[], Path | None] = program) -> None:
        self._find_program = find_program

    def effect(self, hands: Hands, args: GlobArguments) -> Effect:
        place = resolve(hands, args.path or ".")
        return Effect(kind="read", target=f"{args.pattern} in {place.target}", paths=(str(place.real),))

    async def run(self, hands: Hands, args: GlobArguments, output: Callable[[str], None]) -> Outcome:
        place = resolve(hands, args.path or ".")
        if not place.real.exists():
            raise ToolFailure(missing(hands, place))
        if not place.real.is_dir():
            raise ToolFailure(f"{place.shown} is not a folder.")
        pattern = globs.clean(args.pattern, str(place.real))
        matching = globs.matcher(pattern)
        answer = await search(
            Ask(where=place.real, options=("--files", "--null"), glob=pattern, kept=_LISTED_BYTES),
            self._find_program(),
        )
        names = [os.fsdecode(name).removeprefix("./") for name in answer.data.split(b"\0")]
        if answer.cut or answer.more:
            names = names[:-1]
        wanted = [
            name
            for name in names
            if name and matching.fullmatch(name) and not is_env_file(os.path.basename(name))
        ]
        limit = min(max(args.head_limit, 1), MAX_LIMIT)
        newest = await asyncio.to_thread(_newest_first, place.real, wanted)
        lines = [visible(shown(hands, place.real / name)).replace("\n", "\\n") for name in newest[:limit]]
        left = len(newest) - len(lines) + answer.more
        notes = list(answer.notes)
        if left:
            least = "at least " if answer.cut else ""
            notes.insert(0, f"{least}{plural(left, 'more file')}; narrow the pattern or raise head_limit")
        if not lines:
            lines = [f"No file matches {args.pattern} in {place.folder_name}."]
        if notes:
            lines.append(f"[{'; '.join(notes)}]")
        return Outcome(content="\n".join(lines), details={"files": len(newest), "left_out": left})


def _newest_first(folder: Path, names: list[str]) -> list[str]:
    times: list[tuple[int, str]] = []
    base = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            try:
                times.append((-os.stat(name, dir_fd=base, follow_symlinks=False).st_mtime_ns, name))
            except OSError:
                continue  # gone since it was listed
    finally:
        os.close(base)
    return [name for _, name in sorted(times)]
