"""Glob patterns as ripgrep and .gitignore read them. Knows no file system.

`*.py` is meant at any depth, `src/*.py` from the folder that is searched.
"""

import re

from kimi_tools.base import ToolFailure

_MAX_PATTERN = 2000
_MAX_BRACES = 200


def clean(pattern: str, folder: str) -> str:
    """A pattern relative to `folder` (absolute); raises ToolFailure for one that cannot be used."""
    if not pattern.strip() or "\0" in pattern or "\n" in pattern:
        raise ToolFailure("The glob pattern is empty or holds a character that no file name has.")
    if len(pattern) > _MAX_PATTERN:
        raise ToolFailure("The glob pattern is too long.")
    pattern = pattern.removeprefix(f"{folder}/")
    while pattern.startswith("./"):
        pattern = pattern[2:]
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise ToolFailure("A glob pattern is relative and stays inside: give the folder as path.")
    return f"{pattern}**" if pattern.endswith("/") else pattern


def matcher(pattern: str) -> re.Pattern[str]:
    """What fully matches the relative paths that a clean pattern means."""
    try:
        found = [_translate(part) for part in _alternatives(pattern)]
        return re.compile("|".join(found), re.DOTALL)
    except re.error as failure:
        raise ToolFailure(f"The glob pattern {pattern} cannot be used: {failure}.") from failure


def _alternatives(pattern: str) -> list[str]:
    """`{a,b}` written out."""
    done: list[str] = []
    waiting = [pattern]
    while waiting:
        part = waiting.pop()
        inner = re.search(r"\{([^{}]*)\}", part)
        if inner is None:
            done.append(part)
        else:
            waiting += [part[: inner.start()] + word + part[inner.end() :] for word in inner[1].split(",")]
        if len(done) + len(waiting) > _MAX_BRACES:
            raise ToolFailure("The glob pattern has too many {alternatives}.")
    return done


_PIECES = re.compile(r"(?P<deep>(?:(?<=/)|^)\*\*/)|(?P<rest>(?:(?<=/)|^)\*\*$)|(?P<star>\*+)|(?P<one>\?)"
                     r"|(?P<set>\[[!^]?\]?[^\]]*\])|\\(?P<escaped>.)|(?P<plain>.)", re.DOTALL)  # fmt: skip


def _translate(pattern: str) -> str:
    prefix = "" if "/" in pattern else "(?:.*/)?"
    return prefix + "".join(_piece(match) for match in _PIECES.finditer(pattern.lstrip("/")))


def _piece(match: re.Match[str]) -> str:
    match match.lastgroup:
        case "deep":
            return "(?:.*/)?"
        case "rest":
            return ".*"
        case "star":
            return "[^/]*"
        case "one":
            return "[^/]"
        case "set":
            inside = match[0][1:-1]
            negated = inside[:1] in ("!", "^")
            members = re.sub(r"([\\\[\]&~|])", r"\\\1", inside[1:] if negated else inside)
            return f"[^/{members}]" if negated else f"[{members}]"
        case "escaped":
            return re.escape(match["escaped"])
        case _:
            return re.escape(match[0])


def ignore_lines(pattern: str) -> str:
    """An ignore file that leaves out all but the pattern; rules of the repository come before it.

    A `--glob` of ripgrep would bring back what .gitignore leaves out.
    """
    if pattern.endswith(" "):
        pattern = f"{pattern[:-1]}\\ "
    return f"*\n!*/\n!{pattern}\n"
