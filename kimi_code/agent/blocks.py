"""Finds the code a model wrote in its answer. Knows nothing of what the code is for."""

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*$", re.MULTILINE)
_PATH = re.compile(r"[\w./-]*[\w-]\.[A-Za-z]{1,4}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block; `path` is a file name in the line before it or in its first comment, else empty."""

    language: str
    path: str
    code: str


def code_blocks(text: str) -> list[Block]:
    """All fenced blocks in order; one that is never closed ends with the text (a cut answer)."""
    blocks: list[Block] = []
    position = 0
    while opening := _FENCE.search(text, position):
        fence = opening.group(1)
        closing = re.compile(rf"^[ \t]*{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$", re.MULTILINE)
        start = min(opening.end() + 1, len(text))
        end = closing.search(text, start)
        code = text[start : end.start() if end else len(text)]
        before = text[position : opening.start()].rstrip().rsplit("\n", 1)[-1]
        blocks.append(Block(language=opening.group(2).lower(), path=_named(before, code), code=code))
        if end is None:
            break
        position = end.end()
    return blocks


def _named(before: str, code: str) -> str:
    first = code.lstrip().split("\n", 1)[0]
    for line in (first if first.startswith(("#", "//", "--")) else "", before):
        if found := _PATH.search(line):
            return found.group(0).removeprefix("./")
    return ""
