"""AGENTS.md from the project's top down to the folder: data for the model, within limits. Asks no model."""

import os
from pathlib import Path

import msgspec

from kimi_code.config.project import find_root, folders_between, read_regular

NAME = "AGENTS.md"
MAX_FILE = 16_384
MAX_ALL = 32_768
# A link may lead to another name for the same text (CLAUDE.md), not to a file of secrets.
_TEXTS = (".md", ".txt")


class Instructions(msgspec.Struct, frozen=True, kw_only=True):
    """`files`: path -> text, the top folder's first. `notes`: what was cut or left out, for people."""

    files: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()


def find_instructions(cwd: Path, *, max_file: int = MAX_FILE, max_all: int = MAX_ALL) -> Instructions:
    """What the project says to agents, at most `max_all` bytes. Never raises for what the files hold.

    The files nearest to `cwd` come first when there is too much: they are about what is worked on.
    """
    root = find_root(cwd)
    found: list[tuple[Path, str]] = []
    notes: list[str] = []
    room = max_all
    for folder in reversed(folders_between(root, cwd)):
        path = folder / NAME
        if not os.path.lexists(path):
            continue
        if room <= 0:
            notes.append(f"{path} was left out: the files below it have {max_all:,} bytes already.")
            continue
        text = _read(path, root, min(room, max_file), notes)
        if text:
            found.append((path, text))
            room -= len(text.encode())
    return Instructions(files=tuple(reversed(found)), notes=tuple(notes))


def read_instructions(cwd: Path, *, max_all: int = MAX_ALL) -> tuple[str, tuple[str, ...]]:
    """The text for the model, and the notes for the person."""
    found = find_instructions(cwd, max_all=max_all)
    parts = [f'<instructions file="{path}">\n{text}\n</instructions>' for path, text in found.files]
    return "\n\n".join(parts), found.notes


def _read(path: Path, root: Path, limit: int, notes: list[str]) -> str:
    real = Path(os.path.realpath(path))
    if real != path and (not real.is_relative_to(root) or real.suffix not in _TEXTS):
        notes.append(f"{path} was left out: it is a link to {real}.")
        return ""
    try:
        data = read_regular(real, limit)
        size = real.stat().st_size
    except OSError as failure:
        notes.append(f"{path} was left out: {failure.strerror}.")
        return ""
    if b"\0" in data:
        notes.append(f"{path} was left out: it is not text.")
        return ""
    kept = data[:limit]
    try:
        # What was cut may end within a character; anything else that is no UTF-8 is no text.
        text = kept.decode("utf-8-sig", "ignore" if len(data) > limit else "strict")
    except UnicodeDecodeError:
        notes.append(f"{path} was left out: it is not UTF-8 text.")
        return ""
    if len(data) > limit:
        notes.append(f"{path} was cut: {max(size - limit, 1):,} of {size:,} bytes were left out.")
    return text.strip()
