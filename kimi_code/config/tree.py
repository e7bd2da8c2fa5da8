"""A second opinion on a shell command: tree-sitter's. Knows no rule.

No reader of shell is always right: tree-sitter takes `\\ #x; rm y` for a comment, and bash runs it. So what
is to be allowed must be read alike by both, and what either finds counts for what is to be denied.
"""

import re
import time
from functools import lru_cache

import msgspec
import tree_sitter_bash
from tree_sitter import Language, Parser, TreeCursor

_PARSER = Parser(Language(tree_sitter_bash.language()))
_SECONDS = 0.25
# Its time grows with the square of these, and after the last call of the progress callback.
_MAX_PIPES = 1000
_PLAIN = frozenset((
    "program", "list", "pipeline", "command", "command_name", "word", "string", "string_content",
    "raw_string", "number", "concatenation", "comment", "redirected_statement", "file_redirect",
    "file_descriptor", ";", "&", "&&", "||", "|", "|&", "\n", ">", ">>", "<", ">&", "<&", "&>", "&>>",
    '"', "'",
))  # fmt: skip
_LONGEST_WORD = 4096


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """`commands`: the words of every simple command, those in substitutions included.

    plain: there is nothing but literal words, operators between commands, and redirections; then the
    words are as written, quotes included. Otherwise quotes are taken off, roughly.
    """

    commands: tuple[tuple[str, ...], ...]
    plain: bool


@lru_cache(maxsize=4)  # of one command that is judged by several rules
def read_tree(text: str) -> Reading | None:
    """None where it cannot be parsed, or not in time."""
    source = text.encode("utf-8", "replace")
    if source.count(b"|") > _MAX_PIPES:
        return None
    deadline = time.monotonic() + _SECONDS

    def read(offset: int, _: object) -> bytes:
        return source[offset:]

    def is_late(_: int, __: bool) -> bool:
        return time.monotonic() > deadline

    try:
        tree = _PARSER.parse(read, progress_callback=is_late)
    except ValueError:
        _PARSER.reset()
        return None
    return _walk(tree.walk(), source, plain=not tree.root_node.has_error, deadline=deadline)


def _walk(cursor: TreeCursor, source: bytes, *, plain: bool, deadline: float) -> Reading | None:
    """Every node in the order of the text, without recursion."""
    commands: list[list[str]] = []
    inside: list[tuple[int, list[str]]] = []  # the commands around the node, each with its depth
    while True:
        node = cursor.node
        if node is None or (len(commands) % 256 == 255 and time.monotonic() > deadline):
            return None
        plain = plain and node.type in _PLAIN
        if inside and cursor.depth == inside[-1][0] + 1 and cursor.field_name in ("name", "argument"):
            end = min(node.end_byte, node.start_byte + _LONGEST_WORD)
            inside[-1][1].append(source[node.start_byte : end].decode("utf-8", "replace"))
        if node.type == "command":
            commands.append([])
            inside.append((cursor.depth, commands[-1]))
        if not _advance(cursor, inside):
            found = tuple(map(tuple, commands))
            return Reading(commands=found if plain else tuple(map(_bare, found)), plain=plain)


def _advance(cursor: TreeCursor, inside: list[tuple[int, list[str]]]) -> bool:
    """To the next node; False at the end. Commands that are left behind are taken from `inside`."""
    if cursor.goto_first_child():
        return True
    while not cursor.goto_next_sibling():
        if not cursor.goto_parent():
            return False
        if inside and cursor.depth == inside[-1][0]:
            inside.pop()
    return True


def _bare(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(re.sub(r"\\\n|\\(.)|['\"]", r"\1", word, flags=re.DOTALL) for word in words)
