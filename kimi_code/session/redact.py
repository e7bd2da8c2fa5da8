"""Takes secrets out of what came from outside before it is written. Knows patterns, not sources.

What is searched: outcomes of calls, of verification commands and of trials, and what the loop tells the model
of them. What is not: a person's words and the model's, its calls' arguments included. A secret in these was
given by the person, who wants it used; and the model must be shown again exactly what it said, or its own
cached prefix does not fit any more. What leaves the machine (an export) is searched as a whole.
"""

import re
from typing import Any, cast

import msgspec

from kimi_code.events import (
    CallFinished,
    CandidateTried,
    ErrorRaised,
    Fact,
    Result,
    TurnEnded,
    UserMessage,
    VerifyFinished,
)

REDACTED = "[redacted]"


def _begins(mark: str) -> str:
    """`mark` where a word begins: after no letter or digit, after an escape in JSON text, after a colour.

    The mark comes first and looks back, because a pattern that begins with plain letters is searched quickly.
    """
    return rf"{mark}(?:(?<![A-Za-z0-9_-]{mark})|(?<=\\[nrt]{mark})|(?<=\[\dm{mark})|(?<=[\[;]\d\dm{mark}))"


_BODY = r"(?:(?!-----)[A-Za-z0-9+/=\s\\:.,|\"'>-]){0,20000}+"
_KEY_NAME = r"[A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_CUT_KEY = r"(?=[\s\S]{0,200}?[A-Za-z0-9+/]{40})"  # and not just the words, in a program that looks for keys

# Each with marks of which a text must have one: most have none, and only what may be there is searched for.
_PATTERNS = tuple(
    (tuple(marks.split()), re.compile(pattern))
    for marks, pattern in (
        ("-----BEGIN", rf"-----BEGIN {_KEY_NAME}{_BODY}-----END {_KEY_NAME}"),
        ("-----BEGIN", rf"-----BEGIN {_KEY_NAME}{_CUT_KEY}{_BODY}"),
        ("ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{20,255}"),  # GitHub
        ("github_pat_", r"github_pat_[A-Za-z0-9_]{20,255}"),
        ("glpat-", r"glpat-[A-Za-z0-9_-]{16,64}"),  # GitLab
        ("AKIA ASIA", r"A(?:KI|SI)A[0-9A-Z]{16}(?![0-9A-Za-z])"),  # AWS
        (
            "aws_secret_access_key AWS_SECRET_ACCESS_KEY",
            r"(?i:aws_secret_access_key)[\"']?\s{0,3}[=:]\s{0,3}[\"']?[A-Za-z0-9/+]{40}",
        ),
        # OpenAI, Anthropic, Moonshot ...; a digit tells them from words joined by dashes.
        ("sk-", rf"{_begins('sk-')}(?=[A-Za-z_-]{{0,199}}\d)[A-Za-z0-9_-]{{20,200}}"),
        ("sk_live_ rk_live_", r"[sr]k_live_[A-Za-z0-9]{16,128}"),  # Stripe
        ("xox", r"xox[abeprs]-[A-Za-z0-9-]{10,200}"),  # Slack
        ("AIza", r"AIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])"),  # Google
        ("hf_", rf"{_begins('hf_')}[A-Za-z0-9]{{30,64}}"),  # Hugging Face
        ("gsk_", rf"{_begins('gsk_')}[A-Za-z0-9]{{40,80}}"),  # Groq
        ("npm_", rf"{_begins('npm_')}[A-Za-z0-9]{{36}}(?![A-Za-z0-9])"),
        ("pypi-", r"pypi-AgE[A-Za-z0-9_-]{50,400}"),
        # JSON Web Tokens: two objects in base64 and a signature.
        (
            "eyJ",
            rf"{_begins('eyJ')}[A-Za-z0-9_-]{{10,4000}}\.eyJ[A-Za-z0-9_-]{{4,8000}}\.[A-Za-z0-9_-]{{10,2000}}",
        ),
        # The password of a URL, where it is one and not a place to put it.
        ("://", r"://[^\s/:@\"'<>]{0,100}:(?![{$<*%\[])[^\s/@\"'<>]{3,500}(?=@)"),
    )
)
_KEY_END = re.compile(rf"-----END {_KEY_NAME}")
_KEY_LINE = re.compile(r"(?:^|[^A-Za-z0-9+/=])[A-Za-z0-9+/]{16,}={0,2}\s*$")


def redact(text: str) -> str:
    """`text` with keys, tokens and passwords in URLs replaced by [redacted]."""
    for marks, pattern in _PATTERNS:
        if any(mark in text for mark in marks):
            text = pattern.sub(f"://{REDACTED}" if marks == ("://",) else REDACTED, text)
    return _without_key_ends(text) if "-----END" in text else text


def redact_all(value: Any) -> Any:
    """A value of plain data with every string in it redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        pairs = cast(dict[Any, Any], value).items()
        return {redact(key) if isinstance(key, str) else key: redact_all(each) for key, each in pairs}
    if isinstance(value, list | tuple):
        return [redact_all(each) for each in cast(list[Any], value)]
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.asdict(value)
        return msgspec.structs.replace(value, **{key: redact_all(each) for key, each in fields.items()})
    return value


def redacted(fact: Fact) -> Fact:
    """A fact as it may be stored."""
    fields = _FOREIGN.get(type(fact))
    if fields is None or (isinstance(fact, UserMessage) and fact.origin == "person"):
        return fact
    before = {name: getattr(fact, name) for name in fields}
    after = {name: redact_all(value) for name, value in before.items()}
    return fact if after == before else msgspec.structs.replace(fact, **after)


_FOREIGN: dict[type[Fact], tuple[str, ...]] = {
    CallFinished: ("content", "details"),
    VerifyFinished: ("summary",),
    CandidateTried: ("summary",),
    UserMessage: ("text",),
    TurnEnded: ("detail",),
    ErrorRaised: ("message",),
    Result: ("verification", "error"),
}


def _without_key_ends(text: str) -> str:
    """Where an output was cut inside of a key, its rest stands before an END without a BEGIN."""
    parts: list[str] = []
    position = 0
    for end in _KEY_END.finditer(text):
        lines = text[position : end.start()].split("\n")[:-1]
        count = len(lines)
        while lines and _KEY_LINE.search(lines[-1]):
            lines.pop()
        if len(lines) < count:
            parts.append("\n".join((*lines, REDACTED)))
            position = end.end()
    return "".join(parts) + text[position:]
