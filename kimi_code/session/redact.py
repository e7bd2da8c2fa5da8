"""Takes secrets out of what tools returned before it is written. Knows patterns, not sources.

Only what came from outside is searched: the outcome of calls. A person's words and the model's are kept.
"""

import re
from typing import Any

import msgspec

from kimi_code.events import CallFinished, Fact

_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]{0,8000}?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,255}\b"
    r"|\bgithub_pat_[A-Za-z0-9_]{20,255}\b"
    r"|\bglpat-[A-Za-z0-9_-]{16,64}\b"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bsk-[A-Za-z0-9_-]{20,200}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,200}"
    r"|\bAIza[0-9A-Za-z_-]{35}\b"
    r"|\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,2000}"
    r"|(?<=://)[^\s/:@]{1,100}:[^\s/@]{3,200}(?=@)"
)
# What every pattern needs: a text without any of these is clean, and most are.
_MAYBE = re.compile(r"-----BEGIN|gh[pousr]_|github_pat_|glpat-|AKIA|ASIA|sk-|xox[abprs]-|AIza|eyJ|://")
_REDACTED = "[redacted]"


def redact(text: str) -> str:
    """`text` with keys, tokens and passwords in URLs replaced by [redacted]."""
    return _SECRET.sub(_REDACTED, text) if _MAYBE.search(text) else text


def redacted(fact: Fact) -> Fact:
    """A fact as it may be stored."""
    if not isinstance(fact, CallFinished):
        return fact
    content, details = redact(fact.content), _redact_value(fact.details)
    if content == fact.content and details == fact.details:
        return fact
    return msgspec.structs.replace(fact, content=content, details=details)


def _redact_value(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redact_value(each) for key, each in value.items()}  # pyright: ignore
    if isinstance(value, list | tuple):
        return [_redact_value(each) for each in value]  # pyright: ignore
    return value
