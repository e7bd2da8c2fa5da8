"""The Grep tool: lines by regular expression, grouped by file. Knows no search program."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from kimi_tools import globs
from kimi_tools.base import Effect, Hands, Outcome, ToolFailure
from kimi_tools.paths import Place, is_env_file, missing, open_file, resolve, shown
from kimi_tools.ripgrep import Answer, Ask, program, search
from kimi_tools.text import SNIFFED, UTF16, binary_kind, plural, visible

LIMIT = 100
MAX_LIMIT = 2000
_COLUMNS = 500
_MAX_CONTEXT = 100
_NUMBER = re.compile(r"\d+[:-]")


class GrepArguments(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"ignore_case": "-i", "numbers": "-n", "after": "-A", "before": "-B", "context": "-C"},
):
    pattern: str
    path: str = "."
    glob: str = ""
    output_mode: Literal["content", "files_with_matches", "count"] = "content"
    ignore_case: bool = False
    numbers: bool = True
    after: int = 0
    before: int = 0
    context: int = 0
    head_limit: int = LIMIT
    multiline: bool = False


class Grep:
    """`find_program` says where ripgrep is, None for the slow search."""

    name = "Grep"
    Arguments = GrepArguments

    def __init__(self, find_program: Callable[[], Path | None] = program) -> None:
        self._find_program = find_program

    def effect(self, hands: Hands, args: GrepArguments) -> Effect:
        place = resolve(hands, args.path or ".")
        return Effect(kind="read", target=f"{args.pattern!r} in {place.target}", paths=(str(place.real),))

    async def run(self, hands: Hands, args: GrepArguments, output: Callable[[str], None]) -> Outcome:
        place = resolve(hands, args.path or ".")
        if not place.real.exists():
            raise ToolFailure(missing(hands, place))
        if not place.real.is_dir():
            _refuse_binary(hands, place)
        if not args.pattern or "\0" in args.pattern:
            raise ToolFailure("The pattern is empty or holds a NUL character.")
        glob = globs.clean(args.glob, str(place.real)) if args.glob else ""
        folder = place.real.is_dir()
        ask = Ask(where=place.real, options=_options(args), pattern=args.pattern, glob=glob if folder else "")
        answer = await search(ask, self._find_program())
        files = _grouped(answer, globs.matcher(glob) if glob and folder else None)
        return _outcome(hands, place, args, files, answer)


def _refuse_binary(hands: Hands, place: Place) -> None:
    descriptor, _ = open_file(hands, place)
    with os.fdopen(descriptor, "rb") as file:
        kind = binary_kind(file.read(SNIFFED))
    if kind is not None and kind != UTF16:
        raise ToolFailure(f"{place.shown} is {kind}, which Grep does not search.")


def _options(args: GrepArguments) -> tuple[str, ...]:
    options = ["--null", "--with-filename", "--no-heading", "--no-mmap"]
    options += ["-i"] if args.ignore_case else []
    options += ["-U", "--multiline-dotall"] if args.multiline else []
    if args.output_mode == "files_with_matches":
        return (*options, "-l")
    if args.output_mode == "count":
        return (*options, "-c")
    options += ["-n" if args.numbers else "-N", f"--max-columns={_COLUMNS}", "--max-columns-preview"]
    for flag, lines in (("-A", args.after), ("-B", args.before), ("-C", args.context)):
        if lines > 0:
            options.append(f"{flag}{min(lines, _MAX_CONTEXT)}")
    return tuple(options)


def _grouped(answer: Answer, only: "re.Pattern[str] | None") -> dict[str, list[str]]:
    """Lines by file. ripgrep prints NAME NUL LINE, and `--` between pieces; `-l` prints NAME NUL alone."""
    files: dict[str, list[str]] = {}
    hidden: dict[str, bool] = {}
    data = answer.data
    lines = data.split(b"\n") if b"\n" in data else [name + b"\0" for name in data.split(b"\0") if name]
    if answer.cut or answer.more:
        lines = lines[:-1]
    current: list[str] = []
    gap = False
    for line in lines:
        raw, found, text = line.partition(b"\0")
        if not found:
            gap = line == b"--"
            continue
        name = os.fsdecode(raw).removeprefix("./")
        if name not in hidden:
            hidden[name] = is_env_file(os.path.basename(name)) or not (only is None or only.fullmatch(name))
        if hidden[name]:
            continue
        current = files.setdefault(name, [])
        if gap and current:
            current.append("--")
        gap = False
        current.append(visible(text.decode(errors="replace").removesuffix("\r")))
    return files


def _outcome(
    hands: Hands, place: Place, args: GrepArguments, files: dict[str, list[str]], answer: Answer
) -> Outcome:
    limit = min(max(args.head_limit, 1), MAX_LIMIT)
    base = place.real if place.real.is_dir() else place.real.parent
    by_name = {_shown(hands, base / name): lines for name, lines in sorted(files.items())}
    if args.output_mode == "content":
        lines, left = _content(by_name, limit)
        unit = "line"
    else:
        unit = "file"
        all_lines = [f"{name}:{lines[0]}" if lines[0] else name for name, lines in by_name.items()]
        lines, left = all_lines[:limit], max(0, len(all_lines) - limit)
    left += answer.more
    notes = list(answer.notes)
    if left:
        least = "at least " if answer.cut else ""
        notes.insert(0, f"{least}{plural(left, f'more {unit}')}; narrow the search or raise head_limit")
    if not lines:
        lines = [f"No match for {args.pattern!r} in {place.folder_name}."]
    if notes:
        lines.append(f"[{'; '.join(notes)}]")
    return Outcome(content="\n".join(lines), details={"files": len(files), "left_out": left})


def _shown(hands: Hands, path: Path) -> str:
    return visible(shown(hands, path)).replace("\n", "\\n")


def _content(by_name: dict[str, list[str]], limit: int) -> tuple[list[str], int]:
    """Each file's name, then its lines; how many lines found no room."""
    printed: list[str] = []
    shown_lines, total = 0, 0
    for name, lines in by_name.items():
        total += sum(line != "--" for line in lines)
        if shown_lines >= limit:
            continue
        printed.append(name)
        for line in lines:
            if shown_lines >= limit:
                break
            printed.append(line)
            shown_lines += line != "--"
    return printed, total - shown_lines
