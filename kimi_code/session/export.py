"""A session as something to hand to others: Markdown or JSON, secrets redacted everywhere. Pure."""

import re
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from kimi_code.events import (
    AssistantMessage,
    CallFinished,
    CallRequested,
    ErrorRaised,
    Fact,
    PlanUpdated,
    Result,
    SessionStarted,
    Signal,
    TurnEnded,
    TurnStarted,
    UserMessage,
    VerifyFinished,
)
from kimi_code.session.codec import Record, as_object
from kimi_code.session.redact import redact, redact_all
from kimi_code.terminal import one_line, plain

_MARKS = {"done": "x", "in_progress": ">", "pending": " "}
_ORIGINS = {"person": "You", "verify": "Verification", "loop": "Note to the model"}


def json_records(records: Iterable[Record]) -> list[dict[str, Any]]:
    """The records as they are on the wire."""
    return [redact_all(as_object(record)) for record in records]


def markdown(records: Iterable[Record]) -> str:
    """What was said and done, to read: prompts and bookkeeping are left out."""
    parts = [part for record in records if (part := _part(record))]
    return plain(redact("\n\n".join(parts))) + "\n"


def _part(record: Record) -> str:
    event = record.event
    match event:
        case UserMessage(text=text, origin=origin, attachments=attachments):
            files = "".join(f"\n\nAttached: {_code(attached.path)}" for attached in attachments)
            return f"### {_ORIGINS[origin]}\n\n{text.strip()}{files}"
        case AssistantMessage(text=text, thinking=thinking):
            thought = f"> {thinking.strip()}".replace("\n", "\n> ") if thinking.strip() else ""
            said = "\n\n".join(filter(None, (thought, text.strip())))
            return f"### Model\n\n{said}" if said else ""
        case CallRequested(name=name, arguments=arguments):
            return f"**{one_line(name, 80)}**\n\n{_fenced(_arguments(arguments), 'json')}"
        case CallFinished(status=status, content=content, duration_s=seconds):
            return f"{status}, {seconds:.1f} s\n\n{_fenced(content)}"
        case VerifyFinished(command=command, exit_code=code, passed=passed, summary=summary):
            outcome = "passed" if passed else "failed"
            return f"**Verification {outcome}** (exit {code}): {_code(command)}\n\n{_fenced(summary)}"
        case PlanUpdated(todos=todos):
            return "\n".join(f"- [{_MARKS[todo.status]}] {todo.title}" for todo in todos)
        case _:
            return _frame(event, record.time)


def _frame(event: Fact | Signal, seconds: float) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    match event:
        case SessionStarted(version=version, cwd=cwd, model=model, resumed_from=source):
            of = f", from session {source}" if source else ""
            return f"# Session in {_code(cwd)}\n\nModel {_code(model)}, kimi-code {version}, {when}{of}"
        case TurnStarted(turn=turn):
            return f"## Turn {turn}\n\n{when}"
        case TurnEnded(reason=reason, detail=detail):
            return f"*Turn ended: {reason}*" + (f"\n\n{detail.strip()}" if detail.strip() else "")
        case Result(status=status, exit_code=code, files_changed=files, usage=usage):
            changed = ", ".join(map(_code, files)) or "none"
            tokens = f"{usage.prompt} tokens read ({usage.cached} from the cache), {usage.completion} written"
            return f"**Result: {status}** (exit {code})\n\nFiles changed: {changed}. {tokens}."
        case ErrorRaised(code=code, message=message):
            return f"**Error** ({code}): {message}"
        case _:
            return ""


def _arguments(arguments: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(arguments)).decode()


def _fenced(text: str, language: str = "") -> str:
    """In a code block whose fence is longer than any in it; nothing for an empty text."""
    if not text.strip():
        return ""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _code(text: str) -> str:
    tick = "`" * (1 + max(map(len, re.findall(r"`+", text)), default=0))
    pad = " " if len(tick) > 1 else ""
    return f"{tick}{pad}{' '.join(text.split())}{pad}{tick}"
