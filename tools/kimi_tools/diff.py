"""A unified diff of two texts, for people to read. Bounded in time and size."""

import difflib

import msgspec

from kimi_tools.text import split_lines

_CONTEXT = 3
_MIDDLE_LINES = 3000
_DIFF_CHARS = 60_000


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is a unified diff, cut where it is very long; `added` and `removed` count all lines."""

    text: str
    added: int
    removed: int


def unified(old: str, new: str, path: str) -> Diff:
    """The difference between two versions of the file at `path`."""
    before, after = split_lines(old), split_lines(new)
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    middle = before[head : len(before) - tail], after[head : len(after) - tail]
    if max(map(len, middle)) > _MIDDLE_LINES:
        # Finding the best alignment would take minutes: all of the middle is shown as replaced.
        hunks = [f"@@ -{head + 1},{len(middle[0])} +{head + 1},{len(middle[1])} @@\n"]
        hunks += [_line("-", line) for line in middle[0]]
        hunks += [_line("+", line) for line in middle[1]]
        body = hunks
        added, removed = len(middle[1]), len(middle[0])
    else:
        start = max(0, head - _CONTEXT)
        first = before[start : len(before) - tail + _CONTEXT if tail > _CONTEXT else None]
        second = after[start : len(after) - tail + _CONTEXT if tail > _CONTEXT else None]
        body = _hunks(first, second, start)
        added = sum(line.startswith("+") for line in body)
        removed = sum(line.startswith("-") for line in body)
    text = f"--- a/{path}\n+++ b/{path}\n{''.join(body)}" if body else ""
    if len(text) > _DIFF_CHARS:
        text = f"{text[:_DIFF_CHARS]}\n[... the diff goes on ...]\n"
    return Diff(text=text, added=added, removed=removed)


def _common(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _line(sign: str, line: str) -> str:
    return f"{sign}{line}" if line.endswith("\n") else f"{sign}{line}\n\\ No newline at end of file\n"


def _hunks(before: list[str], after: list[str], offset: int) -> list[str]:
    """Hunks of two pieces that begin `offset` lines into their files."""
    lines: list[str] = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        old, new = (group[0][1], group[-1][2]), (group[0][3], group[-1][4])
        lines.append(f"@@ -{_range(*old, offset)} +{_range(*new, offset)} @@\n")
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                lines += [_line(" ", line) for line in before[i1:i2]]
            else:
                lines += [_line("-", line) for line in before[i1:i2]]
                lines += [_line("+", line) for line in after[j1:j2]]
    return lines


def _range(start: int, stop: int, offset: int) -> str:
    length = stop - start
    first = offset + start + (1 if length else 0)
    return str(first) if length == 1 else f"{first},{length}"
