"""Chooses the sources a repair should look at, from texts that may name them.

Knows no model and runs nothing.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from kimi_tools import imports, listing

_SUFFIXES = frozenset(
    {
        ".py", ".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".go", ".rs", ".java", ".kt", ".scala", ".c",
        ".h", ".cc", ".cpp", ".hpp", ".cs", ".rb", ".php", ".swift", ".lua", ".sh", ".pl", ".ex", ".hs",
        ".ml", ".zig",
    }
)  # fmt: skip
_MENTION = re.compile(
    r"[\w@.+/\\-]+\.(?:" + "|".join(s[1:] for s in sorted(_SUFFIXES, reverse=True)) + r")\b"
)
_TEST_NAME = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|[^/]*[._-](test|spec)|conftest)\.\w+$")
_TEST_FOLDER = re.compile(r"(^|/)(tests?|__tests__|specs?)/")

_FILE_BYTES = 400_000
_FEW = 8
_WORST_CUT = 300

# How suspect a source is: named by a person, in a traceback, imported by a failing test, or merely there.
_IN_TASK, _IN_OUTPUT, _IMPORTED, _BY_IMPORT, _THERE = 100.0, 60.0, 40.0, 15.0, 1.0


def is_test(path: str) -> bool:
    """Whether a file is a test or belongs to one, by its name."""
    return bool(_TEST_NAME.search(path) or _TEST_FOLDER.search(path))


def suspects(root: Path, hints: Sequence[str], budget_chars: int) -> dict[str, str]:
    """Path -> text, most suspect first: sources before tests, within the budget.

    hints: the task first, then the output of failing commands. A file that does not fit is cut to the
    functions that the hints name.
    """
    known = [path for path in listing.files(root) if PurePosixPath(path).suffix in _SUFFIXES]
    scores = _scores(root, known, hints)
    words = frozenset(re.findall(r"[A-Za-z_]\w+", " ".join(hints)))
    chosen: dict[str, str] = {}
    for path in sorted(scores, key=lambda p: (is_test(p), -scores[p], p)):
        text = _read(root / path)
        if not text.strip():
            continue
        if len(text) > budget_chars:
            text = _cut(path, text, words, budget_chars)
        if text and len(text) <= budget_chars:
            chosen[path] = text
            budget_chars -= len(text)
    return chosen


def _scores(root: Path, known: list[str], hints: Sequence[str]) -> Mapping[str, float]:
    scores: defaultdict[str, float] = defaultdict(float)
    index = _Index(root, known)
    for number, hint in enumerate(hints):
        for nth, path in enumerate(reversed(index.mentioned(hint))):
            # The last frame of a traceback is nearest to the trouble.
            score = _IN_TASK if number == 0 else _IN_OUTPUT - min(nth, 20)
            scores[path] = max(scores[path], score)
    tests = [path for path in scores if is_test(path)]
    imported = _follow(root, tests, known)
    for path in imported:
        scores[path] = max(scores[path], _IMPORTED)
    for path in _follow(root, [*imported, *(p for p in scores if not is_test(p))], known):
        scores[path] = max(scores[path], _BY_IMPORT)
    sources = [path for path in known if not is_test(path)]
    if len(sources) <= _FEW or not any(not is_test(path) for path in scores):
        for path in sources[: 4 * _FEW]:
            scores[path] = max(scores[path], _THERE)
    return scores


def _follow(root: Path, paths: Iterable[str], known: list[str]) -> list[str]:
    """The files of the workspace that these import, tests left out, each once."""
    there = frozenset(known)
    found: dict[str, None] = {}
    for path in paths:
        for target in imports.imported(path, _read(root / path), there):
            if not is_test(target):
                found[target] = None
    return list(found)


class _Index:
    """Finds files by what a text calls them."""

    def __init__(self, root: Path, known: list[str]) -> None:
        self._root = f"{root}/"
        self._known = frozenset(known)
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        for path in known:
            self._by_name[PurePosixPath(path).name].append(path)

    def mentioned(self, text: str) -> list[str]:
        """The files that a text names, in order, the last mention of each counting."""
        found: dict[str, None] = {}
        for match in _MENTION.finditer(text):
            path = self._find(match[0].replace("\\", "/"))
            if path is not None:
                found.pop(path, None)
                found[path] = None
        return list(found)

    def _find(self, name: str) -> str | None:
        name = name.removeprefix(self._root).removeprefix("./")
        if name in self._known:
            return name
        if name.startswith("/"):
            return None
        same = self._by_name.get(PurePosixPath(name).name, [])
        fitting = [path for path in same if path.endswith(f"/{name}") or path == name]
        return fitting[0] if len(fitting) == 1 else None


def _read(path: Path) -> str:
    """Empty for what is no text or too large to be a source."""
    try:
        if path.stat().st_size > _FILE_BYTES:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _cut(path: str, text: str, words: frozenset[str], budget: int) -> str:
    """The functions and classes that the hints name, whole, while there is room.

    Empty where none is named.
    """
    if budget < _WORST_CUT:
        return ""
    parts: list[str] = []
    for name, body in _definitions(path, text):
        if name in words and len(body) + 2 <= budget:
            parts.append(body)
            budget -= len(body) + 2
    return "\n\n".join(parts)


_DEFINITION = re.compile(
    r"^(?:export\s+)?(?:default\s+)?(?:pub(?:\([^)]*\))?\s+)?(?:async\s+)?(?:static\s+)?"
    r"(?:function\*?|func(?:\s+\([^)]*\))?|fn|class|def|struct|impl)\s+([A-Za-z_]\w*)",
    re.MULTILINE,
)


def _definitions(path: str, text: str) -> list[tuple[str, str]]:
    if path.endswith(".py"):
        try:
            return _python_definitions(text)
        except (SyntaxError, ValueError, RecursionError):
            pass
    marks = list(_DEFINITION.finditer(text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    return [(mark[1], text[mark.start() : end].rstrip()) for mark, end in zip(marks, ends, strict=True)]


def _python_definitions(text: str) -> list[tuple[str, str]]:
    """Functions, and the methods of classes each with its class line."""
    lines = text.split("\n")
    found: list[tuple[str, str]] = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((node.name, _source(lines, node)))
        elif isinstance(node, ast.ClassDef):
            found += [
                (inner.name, f"{lines[node.lineno - 1]}\n{_source(lines, inner)}")
                for inner in node.body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
    return found


def _source(lines: list[str], node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return "\n".join(lines[first - 1 : node.end_lineno])
