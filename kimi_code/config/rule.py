"""A permission rule as it is written: `Tool`, `Tool(pattern)`, `mcp__server__*`. Matches nothing itself."""

import re
from typing import Literal

import msgspec

Kind = Literal["allow", "ask", "deny"]

MAX_RULE = 2000
_FORM = re.compile(r"([A-Za-z_*][\w*.\-]*)(?:\((.*)\))?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class BadRule(ValueError):
    """The text is not a rule; says why."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """`tool` may hold `*`. `pattern` None: every use of the tool. `text` is the rule as it was written."""

    text: str
    tool: str
    pattern: str | None = None


def parse_rule(text: str) -> Rule:
    """Raises BadRule."""
    if len(text) > MAX_RULE:
        raise BadRule(f"it is longer than {MAX_RULE} characters")
    if _CONTROL.search(text):
        raise BadRule("it holds a control character")
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise BadRule("it is not of the form Tool(pattern), like Bash(git status *) or Read(src/**)")
    tool, pattern = match[1], match[2]
    if pattern is None:
        return Rule(text=text, tool=tool)
    pattern = pattern.strip()
    if not pattern:
        raise BadRule(f"there is nothing between its brackets; for every use write {tool} alone")
    if pattern.startswith("!"):
        raise BadRule("a pattern cannot be negated with !; use deny")
    return Rule(text=text, tool=tool, pattern=pattern)
