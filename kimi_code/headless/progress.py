"""Progress of a headless run on stderr, a plain line for each finished thing.

Knows only records. Everything foreign is sanitised here, at the point of output.
"""

import sys
from typing import Protocol

from kimi_code.events import (
    ApprovalResolved,
    AssistantMessage,
    CallFinished,
    CallRequested,
    CandidatesStarted,
    CandidateTried,
    CompactionFinished,
    Fact,
    RetryScheduled,
    Signal,
    UserMessage,
    VerifyFinished,
)
from kimi_code.session.codec import Record
from kimi_code.terminal import one_line

_MARKS = {"ok": "✓", "error": "✗", "denied": "⊘", "interrupted": "!", "unknown": "?"}
_ARGUMENT = ("command", "path", "pattern", "description")


class Reporter(Protocol):
    """Shows records as they come; `close` gives the terminal back."""

    def show(self, record: Record) -> None: ...

    def close(self) -> None: ...


def describe(event: Fact | Signal, width: int = 100, target: str = "") -> str | None:
    """One line for a fact worth a line, None for the others. `target`: of the call that finished."""
    match event:
        case CallFinished(name=name, status=status, details=details, content=content):
            counts = f"+{details['added']} -{details['removed']}" if "added" in details else ""
            note = counts if status == "ok" else content
            return one_line(" ".join(filter(None, (_MARKS[status], name, target, note))), width)
        case AssistantMessage(text=text, calls=calls) if calls and text.strip():
            return one_line(text, width)
        case CandidatesStarted(round=number, count=count):
            return f"• round {number}: {count} answer{'s' if count > 1 else ''}"
        case CandidateTried(candidate=number, passed=passed, summary=summary):
            return one_line(
                f"{'✓' if passed else '·'} answer {number} {'verifies' if passed else summary}", width
            )
        case VerifyFinished(command=command, exit_code=code, passed=passed):
            return one_line(f"{'✓' if passed else '✗'} verify: {command} (exit {code})", width)
        case _:
            return _describe_rare(event, width)


def _describe_rare(event: Fact | Signal, width: int) -> str | None:
    match event:
        case RetryScheduled(attempt=attempt, delay_s=delay, error=error):
            return one_line(f"↻ attempt {attempt} failed ({error}), again in {delay:.1f} s", width)
        case CompactionFinished(freed_tokens=freed):
            return f"… compacted: about {freed} tokens freed"
        case ApprovalResolved(decision="deny", by=by):
            return f"⊘ denied by {by}"
        case UserMessage(origin="verify"):
            return "↺ back to work: verification fails"
        case _:
            return None


def _target(arguments: dict[str, object]) -> str:
    return next((str(arguments[key]) for key in _ARGUMENT if key in arguments), "")


class LineReporter:
    """For stderr that is no terminal: plain lines."""

    def show(self, record: Record) -> None:
        event = record.event
        line = describe(event)
        if isinstance(event, CallRequested):
            line = one_line(f"→ {event.name} {_target(event.arguments)}", 100)
        if line:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.flush()
