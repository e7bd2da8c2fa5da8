"""Reads the output of test runners: which tests failed, and the part of the text that says why.

Knows no process.
"""

import re
from collections.abc import Iterator

SUMMARY_CHARS = 3_000
_TAIL_LINES, _LAST_LINES = 60, 3
_LINE_CHARS = 300
_SECTION_CHARS = 900
_SHORTEST_SECTION = 250

_PYTEST = re.compile(r"^(?:FAILED|ERROR) (\S+\.py(?:::.+?)?)(?: - .*)?$", re.MULTILINE)
_UNITTEST = re.compile(r"^(?:FAIL|ERROR): (\S+) \(([\w.<>]+)\)", re.MULTILINE)
_OTHERS = (
    re.compile(r"^test (\S+) \.\.\. FAILED$", re.MULTILINE),  # cargo
    re.compile(r"^\s*--- FAIL: (\S+)", re.MULTILINE),  # go
    re.compile(r"^\s*not ok \d+ - (.+?)(?: # .*)?$", re.MULTILINE),  # TAP, node
    re.compile(r"^\s*✖ (.+?) \([\d.]+ms\)$", re.MULTILINE),  # node's reporter for people
    re.compile(r"^\s*● (.+ › .+)$", re.MULTILINE),  # jest
    re.compile(r"^ FAIL  (\S+ > .+)$", re.MULTILINE),  # vitest
)

_SECTION = re.compile(r"^_{3,} (.+?) _{3,}$", re.MULTILINE)
_BANNER = re.compile(r"^={3,} (.*?) ={3,}$", re.MULTILINE)
_TALLY = re.compile(r"^(?:=+ )?(\d+ (?:failed|passed|errors?|skipped)\b.*?)(?: =+)?$", re.MULTILINE)
_TELLING = re.compile(r"^(?:>|E )|^\S+?:\d+: |^\S+\.py:\d+:")
_TROUBLE = re.compile(
    r"\berror(?:\[\w+\])?:|panicked at|^\s*--- FAIL|^Traceback|^\s*not ok|✖|●", re.MULTILINE
)


def failing_tests(output: str) -> tuple[str, ...]:
    """The names of the tests that failed, in order, each once; empty where they cannot be told."""
    found = [match[1] for match in _PYTEST.finditer(output)]
    if not found:
        found = [_unittest_name(match[1], match[2]) for match in _UNITTEST.finditer(output)]
    if not found:
        names = ([match[1] for match in each.finditer(output)] for each in _OTHERS)
        found = next(filter(None, names), found)
    return tuple(dict.fromkeys(found))


def _unittest_name(method: str, where: str) -> str:
    """From 3.11 on the parentheses hold the method as well."""
    return where if where.endswith(f".{method}") else f"{where}.{method}"


def summarise(output: str, limit: int = SUMMARY_CHARS) -> str:
    """The part of a failing command's output that says what is wrong, at most `limit` characters."""
    output = "\n".join(_cut(line) for line in output.rstrip().split("\n"))
    from_pytest = _of_pytest(output, limit)
    if from_pytest or len(output) <= limit:
        return from_pytest or output
    return _of_anything(output, limit)


def conclusion(output: str) -> str:
    """What a command that passed says about it: the tally of its tests, else its last lines."""
    tally = [match[1] for match in _TALLY.finditer(output)]
    return tally[-1] if tally else "\n".join(map(_cut, output.rstrip().split("\n")[-_LAST_LINES:]))


def _cut(line: str) -> str:
    return line if len(line) <= _LINE_CHARS else f"{line[:_LINE_CHARS]}[...]"


def _of_pytest(output: str, limit: int) -> str:
    """One short section per failure while there is room, then the names of the rest.

    Empty if it is not pytest's.
    """
    sections = list(_sections(output))
    if not sections:
        return ""
    tally = [match[1] for match in _TALLY.finditer(output)][-1:]
    room = limit - sum(map(len, tally)) - 200
    share = max(_SHORTEST_SECTION, min(_SECTION_CHARS, room // len(sections)))
    shown: list[str] = []
    left_out: list[str] = []
    for title, body in sections:
        text = f"{title}\n{_condense(body, share)}"
        if room >= len(text):
            shown.append(text)
            room -= len(text) + 2
        else:
            left_out.append(title)
    if left_out:
        names = ", ".join(left_out)
        shown.append(f"{len(left_out)} more: {names[:150]}" + ("..." if len(names) > 150 else ""))
    return "\n\n".join([*shown, *tally])[:limit]


def _sections(output: str) -> Iterator[tuple[str, str]]:
    marks = list(_SECTION.finditer(output))
    ends = [*(mark.start() for mark in marks), len(output)][1:]
    for mark, end in zip(marks, ends, strict=True):
        body = output[mark.end() : end]
        banner = _BANNER.search(body)
        yield mark[1], (body[: banner.start()] if banner else body).strip("\n")


def _condense(body: str, limit: int) -> str:
    """The body if it is short.

    Else the lines that were running, the errors and the places, the last first kept.
    """
    if len(body) <= limit:
        return body
    telling = [line for line in body.split("\n") if _TELLING.match(line)]
    kept: list[str] = []
    for line in reversed(telling):
        limit -= len(line) + 1
        if limit < 0:
            kept.append("[...]")
            break
        kept.append(line)
    return "\n".join(reversed(kept)) if telling else body[-limit:]


def _of_anything(output: str, limit: int) -> str:
    """Where trouble begins, and the end."""
    first = _TROUBLE.search(output)
    tail = "\n".join(output.split("\n")[-_TAIL_LINES:])
    if first is None or first.start() >= len(output) - min(len(tail), limit):
        return tail[-limit:]
    third = limit // 3
    start = output.rfind("\n", 0, first.start()) + 1
    return f"{output[start : start + third]}\n[...]\n{tail[-(limit - third - 10) :]}"
