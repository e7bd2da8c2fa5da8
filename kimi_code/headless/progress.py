"""Progress of a headless run on stderr: a line per finished thing, and on a terminal a live last line.

Knows only records. Everything foreign is sanitised here, at the point of output.
"""

import sys
import time
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from kimi_code.events import (
    ApprovalResolved,
    AssistantDelta,
    AssistantMessage,
    CallFinished,
    CallRequested,
    CallStarted,
    CandidatesStarted,
    CandidateTried,
    CompactionFinished,
    ErrorRaised,
    Fact,
    Progress,
    Result,
    RetryScheduled,
    Signal,
    TurnStarted,
    UserMessage,
    VerifyFinished,
    VerifyStarted,
)
from kimi_code.session.codec import Record
from kimi_code.terminal import one_line

_MARKS = {"ok": "✓", "error": "✗", "denied": "⊘", "interrupted": "!", "unknown": "?"}
_ARGUMENT = ("command", "path", "pattern", "description")


class Reporter(Protocol):
    """Shows records as they come; `close` gives the terminal back."""

    def show(self, record: Record) -> None: ...

    def close(self) -> None: ...


def describe(event: Fact | Signal, width: int = 100) -> str | None:
    """One line for a fact worth a line, None for the others."""
    match event:
        case CallFinished(name=name, status=status, details=details, content=content):
            note = details.get("summary") or (content if status != "ok" else "")
            return one_line(f"{_MARKS[status]} {name} {note}", width)
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


class LiveReporter:
    """For a terminal: finished things scroll by, what is running stays on the last line."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._spinner = Spinner("dots", text="starting")
        self._live = Live(self._spinner, console=self._console, refresh_per_second=8, transient=True)
        self._live.start()
        self._began = time.monotonic()
        self._first_token: float | None = None
        self._tokens = 0

    def show(self, record: Record) -> None:
        event = record.event
        if line := describe(event, max(20, self._console.width - 2)):
            style = "green" if line.startswith("✓") else "red" if line[0] in "✗⊘" else "dim"
            self._console.print(Text(line, style=style))
        if isinstance(event, Result | ErrorRaised):
            self._live.stop()
        elif status := self._status(event):
            self._spinner.update(text=Text(one_line(status, max(20, self._console.width - 4)), style="cyan"))

    def close(self) -> None:
        self._live.stop()

    def _status(self, event: Fact | Signal) -> str | None:
        match event:
            case TurnStarted():
                return "thinking"
            case AssistantDelta():
                return self._speed()
            case Progress(phase=phase, done=done, total=total, unit=unit):
                return f"{phase} {done}/{total} {unit}" if total else f"{phase} {done or ''}".strip()
            case CallStarted(name=name, target=target):
                self._first_token = None
                return f"{name} {target}"
            case CallFinished() | VerifyFinished() | UserMessage():
                self._first_token = None
                return "thinking"
            case VerifyStarted(command=command):
                return f"verifying: {command}"
            case CandidatesStarted(count=count):
                return f"sampling {count} answer{'s' if count > 1 else ''}"
            case _:
                return None

    def _speed(self) -> str:
        now = time.monotonic()
        if self._first_token is None:
            self._first_token, self._tokens = now, 0
        self._tokens += 1
        seconds = now - self._first_token
        return f"writing, {self._tokens / seconds:.0f} tokens/s" if seconds > 1 else "writing"


def reporter() -> Reporter:
    """The right one for this stderr."""
    return LiveReporter() if sys.stderr.isatty() else LineReporter()
