"""Whether rules allow a command: two readers agree that it is nothing but literal commands they allow."""

import re
from collections.abc import Sequence

from kimi_code.config.lexer import read_script
from kimi_code.config.never import has_strange_characters, why_never
from kimi_code.config.patterns import CommandPattern
from kimi_code.config.script import Script, Word
from kimi_code.config.tree import read_tree
from kimi_code.config.visible import visible

_BARE = re.compile(r"[\w./:=@%+,-]+")

Allowing = Sequence[tuple[str, CommandPattern]]
"""Rules as they are written, with their patterns."""


def find_allowing(command: str, script: Script, rules: Allowing) -> tuple[tuple[str, ...], str]:
    """The rules that allow the command's parts; or none, and what stands in the way."""
    obstacle = _obstacle(command, script)
    if obstacle:
        return (), obstacle
    used: list[str] = []
    for part in script.commands:
        rule, why = _rule_for(part.words, rules)
        if why:
            return (), why
        used.append(rule)
    # Last, for it costs most.
    if not _is_read_alike(command, script):
        return (), "it cannot be read without doubt"
    return tuple(dict.fromkeys(used)), ""


def _obstacle(command: str, script: Script) -> str:
    if has_strange_characters(command):
        return "it holds control characters, or spaces that are none"
    if script.features:
        return min(script.features)
    if not script.commands:
        return "there is no command in it"
    return ""


def _rule_for(words: Sequence[Word], rules: Allowing) -> tuple[str, str]:
    """The first rule that allows these words; or why none does."""
    texts = [word.text for word in words]
    never = why_never(words)
    for text, pattern in rules:
        if pattern.matches(texts) and (not never or pattern.exact):
            return text, ""
    return "", never or f"no rule allows {visible(' '.join(texts), 200)}"


def _is_read_alike(command: str, script: Script) -> bool:
    reading = read_tree(command)
    if reading is None or not reading.plain or len(reading.commands) != len(script.commands):
        return False
    return all(
        _bare(words) == [word.text for word in part.words]
        for words, part in zip(reading.commands, script.commands, strict=True)
    )


def _bare(words: Sequence[str]) -> list[str]:
    """The words with quotes taken off, each read for itself."""
    bare: list[str] = []
    for raw in words:
        parts = [] if _BARE.fullmatch(raw) else read_script(raw).commands
        bare += [word.text for part in parts for word in part.words] if parts else [raw]
    return bare
