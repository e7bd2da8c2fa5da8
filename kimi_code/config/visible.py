"""Text that somebody has to judge, shown so that nothing in it can hide. Knows no terminal."""

import re
import unicodedata

_BLANKS = r"[ \t\n]{17,}"
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def visible(text: str, limit: int = 2000) -> str:
    """`text` on one line; control, invisible and odd space characters as escapes.

    Long runs of blanks and what does not fit in `limit` characters are counted, and the end is always shown:
    what matters may stand there.
    """
    text = re.sub(_BLANKS, lambda run: f" [{len(run[0]):,} blank chars hidden] ", text)
    if len(text) > limit:
        head, tail = limit * 2 // 3, limit // 3
        text = f"{text[:head]} [{len(text) - head - tail:,} chars hidden] {text[-tail:]}"
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character == " " or "!" <= character <= "~":
        return character
    if character in _SHORT:
        return _SHORT[character]
    if unicodedata.category(character)[0] not in "CZ":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
