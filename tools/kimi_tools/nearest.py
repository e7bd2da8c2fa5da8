"""The place of a text that is most like what an edit asked for. Pure; bounded in time."""

import difflib
import re

import msgspec

_LINES = 50_000
_CANDIDATES = 6
_CHARS = 4000
_SHOWN_LINES = 40
_LIKENESS = 0.4
_WORD = re.compile(r"\w+|[^\w\s]")


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """`lines` as they stand in the text, the first being number `first`."""

    first: int
    lines: tuple[str, ...]


def nearest(text: str, old: str) -> Region | None:
    """The lines most like `old`; None where nothing is."""
    lines = text.replace("\r\n", "\n").split("\n")[:_LINES]
    wanted = old.replace("\r\n", "\n").strip("\n").split("\n")
    sought = "\n".join(line.strip() for line in wanted)[:_CHARS]
    if not sought:
        return None
    best, region = _LIKENESS, None
    for start in _candidates(lines, wanted):
        piece = "\n".join(line.strip() for line in lines[start : start + len(wanted)])[:_CHARS]
        matcher = difflib.SequenceMatcher(None, piece, sought, autojunk=False)
        same = sum(one.strip() == other.strip() for one, other in zip(lines[start:], wanted, strict=False))
        likeness = matcher.ratio() + same / len(wanted)
        if likeness > best:
            best = likeness
            shown = lines[start : start + min(len(wanted), _SHOWN_LINES)]
            region = Region(first=start + 1, lines=tuple(shown))
    return region


def _candidates(lines: list[str], wanted: list[str]) -> list[int]:
    """Where windows of the right height begin that share the most words with what is sought, best first."""
    words = set(_WORD.findall("\n".join(wanted)))
    exact = {line.strip() for line in wanted if line.strip()}
    scores = [
        len(words.intersection(_WORD.findall(line[:1000]))) + 10 * (line.strip() in exact) for line in lines
    ]
    height = min(len(wanted), len(lines))
    total = sum(scores[:height])
    windows = [(total, 0)]
    for start in range(1, len(lines) - height + 1):
        total += scores[start + height - 1] - scores[start - 1]
        windows.append((total, -start))
    windows.sort(reverse=True)
    return [-start for score, start in windows[:_CANDIDATES] if score > 0]
