"""Patterns of rules: the words of one command, paths as .gitignore writes them. Knows no rule and no disk."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

from kimi_code.config.lexer import read_script
from kimi_code.config.script import TooNested

_GIT_VALUES = frozenset({
    "-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--attr-source", "--exec-path",
})  # fmt: skip


def glob_matches(pattern: str, text: str) -> bool:
    """`*` is any number of characters, everything else itself. In linear time."""
    head, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, tail = rest
    if not text.startswith(head) or not text.endswith(tail) or len(text) < len(head) + len(tail):
        return False
    at, end = len(head), len(text) - len(tail)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


class CommandPattern:
    """The words of one simple command. A trailing `*` of its own is zero or more words."""

    def __init__(self, pattern: str) -> None:
        words = _literal_words(pattern) or pattern.split()
        self.open = words[-1] == "*"
        self.words = tuple(words[:-1] if self.open else words)
        self.exact = not self.open and "*" not in pattern

    def matches(self, words: Sequence[str]) -> bool:
        """Strictly, for what is to be allowed."""
        return self._fits(words, len(words))

    def finds(self, name: str, words: Sequence[str], start: int) -> bool:
        """Generously, for what is to be denied: `name` for the first word, and with options left out."""
        count = len(self.words)
        head = [name, *words[start + 1 : start + max(count, 1) + 1]]
        if self._fits(head, len(words) - start, generous=True):
            return True
        if count < 2 or not any(word.startswith("-") for word in head):
            return False
        bare = [name, *islice(_operands(name, words, start), count + 1)]
        return self._fits(bare, len(bare), generous=True)

    def _fits(self, words: Sequence[str], length: int, *, generous: bool = False) -> bool:
        if length < len(self.words) or (length > len(self.words) and not self.open):
            return False
        pairs = list(zip(self.words, words, strict=False))
        if generous and pairs and any(wild in words[0] for wild in "*?["):
            # A wildcard in a command's name can stand for the denied one.
            if not re.fullmatch(re.sub(r"\\\*|\\\?|\\\[.*?\\\]", ".*", re.escape(words[0])), self.words[0]):
                return False
            pairs = pairs[1:]
        return all(glob_matches(pattern, word) for pattern, word in pairs)


def _literal_words(pattern: str) -> list[str]:
    """The words with quotes taken off; none where it is more than literal words."""
    try:
        script = read_script(pattern)
    except TooNested:
        return []
    if len(script.commands) != 1 or script.features:
        return []
    return [word.text for word in script.commands[0].words]


def _operands(name: str, words: Sequence[str], start: int) -> Iterable[str]:
    skip = False
    for index in range(start + 1, len(words)):
        word = words[index]
        if skip or word.startswith("-"):
            skip = not skip and name == "git" and word in _GIT_VALUES
        else:
            yield word


def path_pattern(pattern: str, root: Path, *, follow: bool) -> Callable[[str], bool]:
    """Tells whether an absolute path is meant, by itself or as something within a folder that is.

    As in .gitignore, relative to `root`: a name alone is meant at any depth, `*` stays within a name, `**`
    does not. `~/` and `/` begin a path outside. `follow`: where the fixed beginning is a link, what it leads
    to is meant as well.
    """
    expanded = os.path.expanduser(pattern) if pattern.startswith("~") else pattern
    anchored = "/" in expanded.rstrip("/")
    if os.path.isabs(expanded):
        base = ""
    else:
        base = str(root).rstrip("/")
        expanded = expanded.removeprefix("./")
        expanded = expanded if anchored else f"**/{expanded}"
    whole = os.path.normpath(f"{base}/{expanded.lstrip('/')}")
    wholes = {whole}
    if follow:
        fixed, wild = _split_wild(whole)
        wholes.add(os.path.join(os.path.realpath(fixed), wild) if wild else os.path.realpath(fixed))
    expressions = [_compile(each) for each in wholes]

    def matches(path: str) -> bool:
        return any(expression.fullmatch(path) for expression in expressions)

    return matches


def _split_wild(path: str) -> tuple[str, str]:
    """The part before the first name with a wildcard, and the rest."""
    parts = path.split("/")
    at = next((index for index, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts))
    return "/".join(parts[:at]) or "/", "/".join(parts[at:])


_PIECES = (
    r"(?s)(?P<deep>(?<=/)\*\*/)|(?P<rest>(?<=/)\*\*$)|(?P<star>\*+)|(?P<one>\?)"
    r"|\[(?P<negated>[!^]?)(?P<set>\]?[^\]/]*)\]|\\(?P<escaped>.)|(?P<plain>.)"
)


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile("".join(map(_piece, re.finditer(_PIECES, pattern))) + "(?:/.*)?", re.DOTALL)
    except re.error:  # a range that is none, like [z-a]
        return re.compile(re.escape(pattern) + "(?:/.*)?", re.DOTALL)


def _piece(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "set":
        members = re.sub(r"([\\\[\]&~|^])", r"\\\1", match["set"])
        return f"[^/{members}]" if match["negated"] else f"[{members}]"
    fixed = {"deep": "(?:.*/)?", "rest": ".+", "star": "[^/]*", "one": "[^/]"}
    return fixed.get(kind or "", "") or re.escape(match["escaped"] or match["plain"])
