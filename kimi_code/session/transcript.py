"""A session as lines for a terminal: what was said and done, in order. Pure; foreign text is sanitised."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from kimi_code.events import (
    ApprovalResolved,
    AssistantMessage,
    CallFinished,
    CallRequested,
    CompactionFinished,
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
from kimi_code.session.codec import Record, UnknownFact
from kimi_code.terminal import one_line, plain

_SHOWN = 12  # lines of an output, unless all are asked for
_WIDTH = 160
_SPEAKERS = {"person": "you", "verify": "verification", "loop": "note"}
_TODO = {"done": "[x]", "in_progress": "[>]", "pending": "[ ]"}


def transcript(records: Iterable[Record], *, full: bool = False) -> Iterator[str]:
    """Lines without line feeds. `full`: outputs are not shortened."""
    most = None if full else _SHOWN
    for record in records:
        for text in _lines(record, most):
            # What follows the first line is indented: no text can pass for the beginning of an entry.
            first, *rest = plain(text).split("\n")
            yield first
            yield from (f"    {line}" for line in rest)


def _lines(record: Record, most: int | None) -> Iterator[str]:
    event = record.event
    match event:
        case UserMessage(text=text, origin=origin):
            yield f"{_SPEAKERS[origin]}: {_cut(text, None if origin == 'person' else most)}"
        case AssistantMessage(text=text, thinking=thinking):
            if thinking.strip():
                yield f"thinking: {_cut(thinking, most)}"
            if text.strip():
                yield f"model: {text.strip()}"
        case CallRequested(name=name, arguments=arguments):
            yield f"-> {one_line(name, 80)} {_arguments(arguments, most)}"
        case CallFinished(name=name, status=status, content=content, duration_s=seconds):
            yield f"<- {one_line(name, 80)} {status}, {seconds:.1f} s" + _below(content, most)
        case VerifyFinished(command=command, exit_code=code, passed=passed, summary=summary):
            outcome = "passed" if passed else "failed"
            yield f"verification {outcome} (exit {code}): {one_line(command, _WIDTH)}" + _below(summary, most)
        case PlanUpdated(todos=todos):
            yield "\n".join(("plan:", *(f"{_TODO[todo.status]} {todo.title}" for todo in todos)))
        case _:
            yield from _frame(event, record.time)


def _frame(event: Fact | Signal, seconds: float) -> Iterator[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    match event:
        case SessionStarted(cwd=cwd, model=model, approval=approval, sandbox=sandbox, resumed_from=source):
            of = f", from session {source}" if source else ""
            yield f"== {when} in {cwd}, model {model}, approval {approval}, sandbox {sandbox}{of}"
        case TurnStarted(turn=turn):
            yield f"-- turn {turn}, {when}"
        case TurnEnded(turn=turn, reason=reason, detail=detail):
            yield f"-- turn {turn} ended: {reason}" + _below(detail, None)
        case Result(status=status, exit_code=code, files_changed=files):
            changed = f", changed {', '.join(files)}" if files else ""
            yield f"result: {status}, exit {code}{changed}"
        case ApprovalResolved(decision=decision, by=by):
            yield f"approval: {decision}, by {by}"
        case CompactionFinished(kept_from=kept_from, freed_tokens=freed):
            yield f"compacted: what is before record {kept_from}; about {freed} tokens freed"
        case ErrorRaised(code=code, message=message):
            yield f"error ({code}): {message}"
        case UnknownFact(raw=raw):
            yield f"{raw.get('type')}: not known to this version"
        case _:
            pass


def _arguments(arguments: dict[str, Any], most: int | None) -> str:
    text = msgspec.json.encode(arguments).decode()
    return text if most is None else one_line(text, _WIDTH)


def _below(text: str, most: int | None) -> str:
    return f"\n{_cut(text, most)}" if text.strip() else ""


def _cut(text: str, most: int | None) -> str:
    """The first lines, and how many more there are."""
    lines = text.strip("\n").split("\n")
    if most is None or len(lines) <= most + 1:
        return "\n".join(lines)
    return "\n".join((*lines[:most], f"[{len(lines) - most} more lines: --full shows them]"))
