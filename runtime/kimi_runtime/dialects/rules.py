"""The text of a grammar while a dialect writes it, in llguidance's variant of Lark. Knows no family."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_SPACING = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", ", "lenient": True}
_LONGEST = 4000


class Openings(msgspec.Struct, frozen=True, kw_only=True):
    """What a grammar offers: by each text that opens a call what must follow it, the same for texts that
    open one at the very `first` of an answer only, and a `whole` answer that is nothing but calls.
    Right-hand sides of rules."""

    after: Mapping[str, str]
    whole: str
    first: Mapping[str, str] = {}


class Rules:
    """`tokens`: the ids of the vocabulary's structural tokens by text."""

    def __init__(self, tokens: Mapping[str, int]) -> None:
        self._tokens = tokens
        self._lines: list[str] = []
        texts = sorted(tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, texts)) if texts else r"(?!)")

    def is_token(self, text: str) -> bool:
        return text in self._tokens

    def literal(self, text: str) -> str:
        """Text of the family's own, in which marks are tokens where the vocabulary has them."""
        parts: list[str] = []
        start = 0
        for match in self._pattern.finditer(text):
            parts += [quoted(text[start : match.start()]), f"<[{self._tokens[match[0]]}]>"]
            start = match.end()
        parts.append(quoted(text[start:]))
        return " ".join(part for part in parts if part)

    def rule(self, right: str) -> str:
        """Adds a rule; returns its name."""
        name = f"r{len(self._lines)}"
        self._lines.append(f"{name}: {right}")
        return name

    def terminal(self, right: str) -> str:
        name = f"T{len(self._lines)}"
        self._lines.append(f"{name}: {right}")
        return name

    def json(self, schema: Mapping[str, Any]) -> str:
        """A rule for a JSON value of this schema, spaced as models are used to."""
        return self.rule(f"%json {json.dumps({**schema, 'x-guidance': _SPACING})}")

    def raw(
        self,
        end: str,
        *,
        least: int = 0,
        most: int | None = None,
        also: Sequence[str] = (),
        never: Sequence[str] = (),
    ) -> str:
        """Any text up to and with `end`: `least` to `most` characters before it, which all the regular
        expressions `also` match, and none of `never`."""
        count = f"{{{min(least, _LONGEST)},{most if most is not None and most <= _LONGEST else ''}}}"
        core = [f"/(?s:.{count})/", *(f"/{escaped(part)}/" for part in also)]
        core += [f"~/(?s:{escaped(part)})/" for part in never]
        if self.is_token(end):
            return self.rule(f"{self.terminal(' & '.join(core))} {self.literal(end)}")
        core.append(f"~/(?s:.*{escaped(re.escape(end))}.*)/")
        return self.terminal(f"({' & '.join(core)}) {quoted(end)}")

    def text(self, start: str) -> str:
        return "\n".join(["%llguidance {}", f"start: {start}", *self._lines])


def any_of(choices: Sequence[str]) -> str:
    return "(" + " | ".join(choices) + ")"


def quoted(text: str) -> str:
    """Text as a Lark string; nothing for an empty one."""
    return json.dumps(text) if text else ""


def escaped(pattern: str) -> str:
    """A regular expression for between slashes."""
    return re.sub(r"(?<!\\)((?:\\\\)*)/", r"\1\\/", pattern).replace("\n", "\\n")
