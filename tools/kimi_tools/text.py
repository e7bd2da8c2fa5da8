"""Bytes of a file as text a model can read, and back. Knows no path and no tool."""

import re

MAX_LINE = 2000

SNIFFED = 8192
_KINDS = (
    (b"\x7fELF", "an ELF program or library"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"PK\x03\x04", "a ZIP archive (or a document, wheel or jar)"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\0", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"%PDF-", "a PDF document"),
    (b"GGUF", "a GGUF model"),
    (b"\0asm", "a WebAssembly module"),
    (b"\xca\xfe\xba\xbe", "a Java class or a Mach-O program"),
    (b"RIFF", "a RIFF file (audio, video or WebP)"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
)
_TEXT_LOOKING = (b"GIF8", b"BZh", b"GGUF", b"RIFF", b"OggS", b"ID3")
UTF16 = "UTF-16 text"
BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

# What can make a reader see something else than what stands there: controls, direction marks, invisible
# characters that carry text. Joiners and the emoji selector stay: honest scripts need them.
_HIDDEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ufe00-\ufe0e\ud800-\udfff\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    """Control and invisible characters written out as escapes; line ends (as `\\n`) and tabs stay."""
    return _HIDDEN.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == 0x0D:
        return "\\r"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def binary_kind(head: bytes) -> str | None:
    """What a file is that begins like this, where that is not text; None for text."""
    has_nul = b"\0" in head[:SNIFFED]
    if head.startswith(_UTF16_MARKS):
        return UTF16
    for magic, kind in _KINDS:
        if head.startswith(magic) and (has_nul or magic not in _TEXT_LOOKING):
            return kind
    return "binary data" if has_nul else None


def decode(data: bytes) -> tuple[str, bool]:
    """The text, and whether it is the bytes' own (False: bytes that are no UTF-8 were replaced)."""
    try:
        return data.decode(), True
    except UnicodeDecodeError:
        return data.decode(errors="replace"), False


def line_end(text: str) -> str:
    """The line end that a text uses most; `\\n` where it has none."""
    crlf = text.count("\r\n")
    return "\r\n" if crlf * 2 > text.count("\n") else "\n"


def with_line_end(text: str, end: str) -> str:
    """All line ends of `text` as `end`."""
    text = text.replace("\r\n", "\n")
    return text.replace("\n", end) if end != "\n" else text


def size(count: int) -> str:
    """Bytes for people: 900 bytes, 12 kB, 3.4 GB."""
    if count < 1000:
        return f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, 4)
    value = count / 1000**power
    unit = ("kB", "MB", "GB", "TB")[power - 1]
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def split_lines(text: str) -> list[str]:
    """Lines with their ends; only `\\n` ends one, as in every editor, unlike str.splitlines."""
    *lines, last = text.split("\n")
    ended = [f"{line}\n" for line in lines]
    return [*ended, last] if last else ended
