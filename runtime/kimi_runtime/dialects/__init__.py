"""How model families write text, thoughts and calls. Knows tokens only as text; a module per family.

`detect` tells the family; its Dialect reads answers (`reader`), writes the grammar of calls (`grammar`)
and turns conversations into what the family's templates expect (`replay`).
"""

from kimi_runtime.dialects.base import (
    CallPart,
    Dialect,
    Part,
    Reader,
    TextPart,
    ThinkingPart,
    Thought,
    Tools,
    parse_calls,
)
from kimi_runtime.dialects.detect import detect

__all__ = [
    "CallPart",
    "Dialect",
    "Part",
    "Reader",
    "TextPart",
    "ThinkingPart",
    "Thought",
    "Tools",
    "detect",
    "parse_calls",
]
