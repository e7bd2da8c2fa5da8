"""What a headless run writes: one protocol on stdout, progress on stderr. Knows only records.

stdout belongs to the chosen format alone: the final answer (text), one result object (json), or an event a
line (stream-json).
"""

import os
import sys
import time
from typing import Literal, Protocol

from kimi_code.errors import KimiError
from kimi_code.events import ErrorRaised, Result
from kimi_code.session.codec import Record, encode
from kimi_code.terminal import plain

Format = Literal["text", "json", "stream-json"]


class Output(Protocol):
    """Follows a session's records."""

    def show(self, record: Record) -> None: ...


def write_stdout(data: bytes) -> None:
    """All of `data`, unbuffered. A reader that went away is not an error of ours: the run goes on."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(1, view) :]
        except BrokenPipeError:
            # Further writes go nowhere, instead of failing one by one.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.close(null)
            return
        except OSError:
            return


class TextOutput:
    """The final answer alone."""

    def show(self, record: Record) -> None:
        if isinstance(record.event, Result) and record.event.result:
            write_stdout(plain(record.event.result.rstrip("\n")).encode() + b"\n")


class JsonOutput:
    """One result object."""

    def show(self, record: Record) -> None:
        if isinstance(record.event, Result):
            write_stdout(encode(record) + b"\n")


class StreamOutput:
    """An event a line, signals included."""

    def show(self, record: Record) -> None:
        write_stdout(encode(record) + b"\n")


def output_for(output_format: Format) -> Output:
    outputs: dict[Format, type[TextOutput] | type[JsonOutput] | type[StreamOutput]] = {
        "text": TextOutput,
        "json": JsonOutput,
        "stream-json": StreamOutput,
    }
    return outputs[output_format]()


def report_failure(error: KimiError, output_format: Format) -> None:
    """What went wrong before there was a session, in the chosen format; stderr has the sentence as well."""
    if output_format == "text":
        return
    raised = ErrorRaised(code=error.code, message=error.message, hint=error.hint)
    result = Result(status="error", result="", session_id="", exit_code=error.exit_code, error=error.message)
    output = output_for(output_format)
    for event in (raised, result):
        output.show(Record(seq=0, time=time.time(), session="", agent="main", event=event))


def explain(result: Result) -> None:
    """Why a task is not done, on stderr; an error has been told already."""
    if result.status in ("done", "error", "interrupted") or not result.error:
        return
    go_on = f'Go on with: kimi-code run --resume {result.session_id} "..."'
    sys.stderr.write(plain(f"kimi-code: {result.status}: {result.error}\n  {go_on}\n"))


def complain(error: ErrorRaised) -> None:
    """An error as a sentence and what to do, on stderr."""
    text = f"kimi-code: {error.message}" + (f"\n  {error.hint}" if error.hint else "")
    sys.stderr.write(plain(text) + "\n")
