"""Progress of a headless run on a terminal: finished things scroll by, what runs stays on the last line.

Knows only records. Apart from progress.py, since rich takes a tenth of the time of a short run to import.
"""

import time

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from kimi_code.events import (
    AssistantDelta,
    CallFinished,
    CallStarted,
    CandidatesStarted,
    ErrorRaised,
    Fact,
    Progress,
    Result,
    Signal,
    TurnStarted,
    UserMessage,
    VerifyFinished,
    VerifyStarted,
)
from kimi_code.headless.progress import describe
from kimi_code.session.codec import Record
from kimi_code.terminal import one_line


class LiveReporter:
    """For a terminal: finished things scroll by, what is running stays on the last line."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._spinner = Spinner("dots", text="starting")
        self._live = Live(self._spinner, console=self._console, refresh_per_second=8, transient=True)
        self._live.start()
        self._first_token: float | None = None
        self._tokens = 0
        self._targets: dict[str, str] = {}

    def show(self, record: Record) -> None:
        event = record.event
        if isinstance(event, CallStarted):
            self._targets[event.id] = event.target
        target = self._targets.pop(event.id, "") if isinstance(event, CallFinished) else ""
        if line := describe(event, max(20, self._console.width - 2), target):
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
