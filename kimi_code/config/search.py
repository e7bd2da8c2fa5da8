"""Every command that a script may run, as far as reading tells: for what is to be denied. Knows no rule."""

import posixpath
import re
from collections.abc import Iterator, Sequence

from kimi_code.config.lexer import read_script
from kimi_code.config.script import Script, Simple, TooNested
from kimi_code.config.tree import read_tree
from kimi_code.config.wrappers import LOOKS, SHELLS, inner_scripts, inner_starts

_KEYWORDS = frozenset({
    "!", "{", "}", "if", "then", "elif", "else", "while", "until", "do", "case", "for", "select", "function",
})  # fmt: skip
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")
_MAX_DEPTH = 20
_MAX_WORK = 150_000

Found = tuple[str, Sequence[str], int]
"""A command's name without its folder, the words it stands in, and where it begins in them."""


def find_commands(command: str, script: Script) -> list[Found]:
    """Raises TooNested for scripts within scripts within scripts, or too much of them."""
    found: list[Found] = []
    work = 0
    reading = read_tree(command)
    waiting = [(list(words), 0) for words in (reading.commands if reading else ())]
    scripts = [(script, 0)]
    while waiting or scripts:
        if scripts:
            inner, depth = scripts.pop()
            waiting += [(_words(part), depth) for part in inner.commands]
            texts = [text for part in inner.commands for text in _shell_inputs(part)]
        else:
            words, depth = waiting.pop()
            texts = list[str]()
            for name, start in _starts(words):
                found.append((name, words, start))
                if name in LOOKS:
                    # Wrappers within wrappers look at the same words again and again.
                    work += len(words) - start
                    texts += inner_scripts(name, words, start)
                if work > _MAX_WORK:
                    raise TooNested
        work += sum(map(len, texts))
        if texts and (depth >= _MAX_DEPTH or work > _MAX_WORK):
            raise TooNested
        scripts += [(read_script(text), depth + 1) for text in texts]
    return found


def _words(part: Simple) -> list[str]:
    """The words, `{a,b}` written out roughly."""
    words: list[str] = []
    for word in part.words:
        words += [piece for piece in re.split(r"[{},]", word.text) if piece] if word.brace else [word.text]
    return words


def _shell_inputs(part: Simple) -> list[str]:
    """Here-documents and here-strings, where a shell may read them as a script."""
    if not part.inputs or not any(posixpath.basename(word.text) in SHELLS for word in part.words):
        return []
    return part.inputs


def _starts(words: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The names of the commands in a list of words, and where each begins."""
    seen: set[int] = set()
    waiting = [0]
    while waiting:
        start = waiting.pop()
        while start < len(words) and (words[start] in _KEYWORDS or _ASSIGNMENT.match(words[start])):
            start += 1
        if start >= len(words) or start in seen:
            continue
        seen.add(start)
        name = posixpath.basename(words[start]) or words[start]
        yield name, start
        waiting += inner_starts(name, words, start)
