"""Stands in for ripgrep where it is not installed: the few flags that our searches use, the same output.

A program of its own, so that a pattern that never ends can be stopped. Knows no tool.
"""

import argparse
import os
import re
import sys
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

import pathspec

_LINE_BYTES = 1_000_000
_WHOLE_BYTES = 100_000_000
_IGNORE_FILES = (".gitignore", ".ignore")
_SNIFFED = 8192
_REGEXP = "--regexp="

Rules = tuple[tuple[str, "pathspec.GitIgnoreSpec"], ...]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--files", "-l", "-c", "-i", "-U", "-n"):
        parser.add_argument(flag, action="store_true")
    for flag in ("-A", "-B", "-C", "--max-columns"):
        parser.add_argument(flag, type=int, default=0)
    parser.add_argument("--glob", action="append", default=[])
    # argparse would take a pattern that is "--" away.
    patterns = [word for word in sys.argv[1:-2] if word.startswith(_REGEXP)]
    parser.set_defaults(regexp=patterns[-1].removeprefix(_REGEXP) if patterns else "", target=sys.argv[-1])
    # What else is given is either how we always behave, or a short cut that the caller does not depend on.
    return parser.parse_known_args([word for word in sys.argv[1:-2] if word not in patterns])[0]


def _spec(lines: list[str]) -> "pathspec.GitIgnoreSpec":
    return pathspec.GitIgnoreSpec.from_lines(lines)


def _rules_of(folder: str) -> Rules:
    lines: list[str] = []
    for name in _IGNORE_FILES:
        try:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                lines += file.read(_LINE_BYTES).splitlines()
        except OSError:
            continue
    return ((folder, _spec(lines)),) if lines else ()


def _parents(folder: str) -> Rules:
    """The rules above a folder, up to the top of its repository."""
    rules: Rules = ()
    while not os.path.lexists(os.path.join(folder, ".git")) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
        rules = _rules_of(folder) + rules
    return rules


def _ignored(rules: Rules, path: str, mark: str) -> bool:
    for base, spec in reversed(rules):
        said = spec.check_file(os.path.relpath(path, base) + mark).include
        if said is not None:
            return said
    return False


def _walk(folder: str, rules: Rules, never: Rules) -> Iterator[str]:
    rules += _rules_of(folder)
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as failure:
        print(f"{folder}: {failure.strerror}", file=sys.stderr)  # noqa: T201
        return
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        mark = "/" if is_folder else ""
        if _ignored(never, entry.path, mark) or _ignored(rules, entry.path, mark):
            continue
        if is_folder:
            yield from _walk(entry.path, rules, never)
        elif entry.is_file(follow_symlinks=False):
            yield entry.path


class _Search:
    def __init__(self, asked: argparse.Namespace) -> None:
        self._asked = asked
        flags = (re.IGNORECASE if asked.i else 0) | re.MULTILINE | (re.DOTALL if asked.U else 0)
        self._pattern = re.compile(asked.regexp.encode(), flags)
        self._before = max(asked.B, asked.C)
        self._after = max(asked.A, asked.C)
        self._out = sys.stdout.buffer

    def file(self, path: str, name: bytes) -> bool:
        """Print what matches; whether anything did."""
        try:
            with open(path, "rb") as file:
                if b"\0" in file.read(_SNIFFED):
                    return False
                file.seek(0)
                return self._print(name, self._whole(file) if self._asked.U else self._lines(file))
        except OSError as failure:
            print(f"{path}: {failure.strerror}", file=sys.stderr)  # noqa: T201
            return False

    def _lines(self, file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
        while line := file.readline(_LINE_BYTES):
            line = line.rstrip(b"\r\n")
            yield line, self._pattern.search(line) is not None

    def _whole(self, file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
        data = file.read(_WHOLE_BYTES)
        hit = {
            line
            for match in self._pattern.finditer(data)
            for line in range(data.count(b"\n", 0, match.start()), data.count(b"\n", 0, match.end()) + 1)
        }
        for number, line in enumerate(data.split(b"\n")):
            yield line, number in hit

    def _print(self, name: bytes, lines: Iterator[tuple[bytes, bool]]) -> bool:
        count, last, until = 0, 0, 0
        before: deque[tuple[int, bytes]] = deque(maxlen=self._before)
        for number, (line, matches) in enumerate(lines, 1):
            count += matches
            if matches and self._asked.l:
                self._out.write(name + b"\0")
                return True
            if self._asked.c:
                continue
            if matches:
                first = before[0][0] if before else number
                if last and first > last + 1 and (self._before or self._after):
                    self._out.write(b"--\n")
                for earlier, text in before:
                    self._line(name, earlier, b"-", text)
                before.clear()
                self._line(name, number, b":", line)
                last, until = number, number + self._after
            elif number <= until:
                self._line(name, number, b"-", line)
                last = number
            else:
                before.append((number, line))
        if count and self._asked.c:
            self._out.write(b"%b\0%d\n" % (name, count))
        return count > 0

    def _line(self, name: bytes, number: int, mark: bytes, line: bytes) -> None:
        width = self._asked.max_columns
        if width and len(line) > width:
            line = line[:width] + b" [... omitted end of long line]"
        where = b"%d%b" % (number, mark) if self._asked.n else b""
        self._out.write(name + b"\0" + where + line + b"\n")


def main() -> int:
    asked = _options()
    top = os.path.abspath(asked.target)
    never: Rules = ((top, _spec([glob.removeprefix("!") for glob in asked.glob])),)
    paths = _walk(top, _parents(top), never) if os.path.isdir(top) else iter((top,))
    base = top if os.path.isdir(top) else os.path.dirname(top)
    found = False
    try:
        search = None if asked.files else _Search(asked)
    except re.error as failure:
        print(f"regex parse error: {failure}", file=sys.stderr)  # noqa: T201
        return 2
    for path in paths:
        name = os.fsencode("./" + os.path.relpath(path, base))
        if search is None:
            sys.stdout.buffer.write(name + b"\0")
            found = True
        else:
            found = search.file(path, name) or found
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
