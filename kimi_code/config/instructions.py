"""AGENTS.md from the repository's top down to the folder: data for the model, within limits."""

from pathlib import Path

_DEPTH, _FILE_BYTES, _ALL_BYTES = 30, 16_000, 32_000
_NAME = "AGENTS.md"


def read_instructions(folder: Path) -> tuple[str, tuple[str, ...]]:
    """The text for the model, and notes for the person on what was cut or left out."""
    parts: list[str] = []
    notes: list[str] = []
    room = _ALL_BYTES
    for path in reversed([each / _NAME for each in _upwards(folder)]):
        if not path.is_file():
            continue
        text = _read(path, min(room, _FILE_BYTES), notes)
        if text:
            parts.append(f'<instructions file="{path}">\n{text}\n</instructions>')
            room -= len(text.encode())
    return "\n\n".join(parts), tuple(notes)


def _upwards(folder: Path) -> list[Path]:
    """The folder and those above it up to the repository's top; alone where it is in none."""
    chain: list[Path] = []
    for each in (folder, *folder.parents)[:_DEPTH]:
        chain.append(each)
        if (each / ".git").exists():
            return chain
    return [folder]


def _read(path: Path, limit: int, notes: list[str]) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
            size = path.stat().st_size
    except OSError as error:
        notes.append(f"{path} cannot be read ({error.strerror}); left out.")
        return ""
    if b"\0" in data:
        notes.append(f"{path} is not text; left out.")
        return ""
    if len(data) > limit:
        notes.append(f"{path}: {size - limit} of {size} bytes were left out.")
    return data[:limit].decode("utf-8", errors="replace").strip()
