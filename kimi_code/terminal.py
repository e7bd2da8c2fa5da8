"""Foreign text made safe for a terminal: the one sanitiser. Knows no widget and no stream."""

import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"  # the rest
)
_CONTROLS = {
    code: f"\\x{code:02x}" for code in [*range(0x20), 0x7F, *range(0x80, 0xA0)] if code not in (9, 10)
}
_HIDDEN = {
    code: f"\\u{code:04x}"
    for code in [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF]
}
_TABLE = {**_CONTROLS, **_HIDDEN}
_SUSPECT = re.compile(r"[^\t\n\x20-\x7e\xa0-\u200a\u2010-\u2029\u202f-\u205f\u2070-\ufefe\uff00-\U0010ffff]")


def plain(text: str) -> str:
    """`text` without escape sequences; other control and invisible characters shown as \\xNN or \\uNNNN.

    Tabs and line feeds stay; a carriage return before a line feed goes.
    """
    if not _SUSPECT.search(text):
        return text
    return _ESCAPES.sub("", text.replace("\r\n", "\n")).translate(_TABLE)


def one_line(text: str, width: int) -> str:
    """`text` sanitised, on one line, cut to `width` characters with an ellipsis."""
    flat = " ".join(plain(text[: width * 8]).split())
    return flat if len(flat) <= width else flat[: max(0, width - 1)] + "…"
