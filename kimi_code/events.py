"""Every fact a session can hold and every signal it can show. Read this first.

A *fact* is durable: it is appended to the log, it has a `seq`, and everything else (the model's
messages, the screen, the cost, resume) is computed from facts. A *signal* is shown and forgotten;
a later fact always restates it. Both are plain data: strings, numbers, ids.

On the wire each is one flat JSON object: the envelope (`type`, `seq`, `time`, `session`, `agent`)
and the fields below. Fields may be added; none is ever renamed (CONTRACT, Events).
"""

from typing import Any, Literal

import msgspec

CallStatus = Literal["ok", "error", "denied", "interrupted", "unknown"]
Decision = Literal["once", "session", "deny"]
EndReason = Literal[
    "done",
    "failed",
    "blocked",
    "step_limit",
    "token_limit",
    "time_limit",
    "loop",
    "interrupted",
    "denied",
    "error",
]
ResultStatus = Literal["done", "failed", "blocked", "error", "budget", "denied", "interrupted"]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens. `cached` of the `prompt` tokens were not computed again; `thinking` is part of `completion`."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    thinking: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prompt=self.prompt + other.prompt,
            cached=self.cached + other.cached,
            completion=self.completion + other.completion,
            thinking=self.thinking + other.thinking,
        )


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call as the model made it; `arguments` is an object, possibly not one the tool accepts."""

    id: str
    name: str
    arguments: dict[str, Any]


class Todo(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    status: Literal["pending", "in_progress", "done"] = "pending"


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["file", "image"]
    path: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One verification command and what it returned; `exit_code` None: it could not be started."""

    command: str
    exit_code: int | None
    detected: bool = False
    passed: bool = False
    summary: str = ""


class Fact(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What is appended to the log."""


class Signal(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What is shown and forgotten."""


class SessionStarted(Fact, frozen=True, kw_only=True, tag="session.started"):
    version: str
    cwd: str
    model: str
    approval: str
    sandbox: str
    resumed_from: str | None = None


class PromptStored(Fact, frozen=True, kw_only=True, tag="prompt.stored"):
    """The base request, kept so that a resumed session replays it byte for byte.

    `system` and `tools` never vary with the folder or the day; all that does is in `context`.
    """

    system: str
    tools: list[dict[str, Any]]
    context: str


class TurnStarted(Fact, frozen=True, kw_only=True, tag="turn.started"):
    turn: int


class TurnEnded(Fact, frozen=True, kw_only=True, tag="turn.ended"):
    turn: int
    reason: EndReason
    detail: str = ""


class UserMessage(Fact, frozen=True, kw_only=True, tag="user.message"):
    """`origin` tells a person's words from what the loop adds (a failed verification, a warning)."""

    text: str
    attachments: list[Attachment] = []
    origin: Literal["person", "verify", "loop"] = "person"


class AssistantMessage(Fact, frozen=True, kw_only=True, tag="assistant.message"):
    text: str
    thinking: str = ""
    calls: list[Call] = []
    usage: Usage = Usage()
    finish: str = "stop"


class CallRequested(Fact, frozen=True, kw_only=True, tag="call.requested"):
    id: str
    name: str
    arguments: dict[str, Any]


class CallStarted(Fact, frozen=True, kw_only=True, tag="call.started"):
    """Written, and on disk, before the effect: an effect with no outcome is reported as unknown.

    `effect` False: the call only reads, so that nothing is unknown about it when it is cut short.
    """

    id: str
    name: str
    target: str
    effect: bool = True


class CallFinished(Fact, frozen=True, kw_only=True, tag="call.finished"):
    """Exactly one per requested call. `content` is for the model, `details` for people."""

    id: str
    name: str
    status: CallStatus
    content: str
    details: dict[str, Any] = {}
    duration_s: float = 0.0


class ApprovalRequested(Fact, frozen=True, kw_only=True, tag="approval.requested"):
    id: str
    call: str
    what: str
    why: str


class ApprovalResolved(Fact, frozen=True, kw_only=True, tag="approval.resolved"):
    id: str
    call: str
    decision: Decision
    by: str


class PlanUpdated(Fact, frozen=True, kw_only=True, tag="plan.updated"):
    todos: list[Todo]


class CheckpointCreated(Fact, frozen=True, kw_only=True, tag="checkpoint.created"):
    """The workspace before the first effect of a turn; `files` is how many were recorded."""

    id: str
    files: int


class CandidatesStarted(Fact, frozen=True, kw_only=True, tag="candidates.started"):
    """One round of sampled answers to one prompt, each to be tried in its own throw-away copy."""

    round: int
    count: int


class CandidateTried(Fact, frozen=True, kw_only=True, tag="candidate.tried"):
    """`passed`: the verification commands held in the throw-away copy. `usage` is this answer's share."""

    round: int
    candidate: int
    passed: bool
    summary: str
    files: list[str] = []
    usage: Usage = Usage()


class VerifyStarted(Fact, frozen=True, kw_only=True, tag="verify.started"):
    command: str
    detected: bool = False


class VerifyFinished(Fact, frozen=True, kw_only=True, tag="verify.finished"):
    command: str
    exit_code: int | None
    summary: str
    passed: bool = False
    duration_s: float = 0.0


class CompactionFinished(Fact, frozen=True, kw_only=True, tag="compaction.finished"):
    """Facts before `kept_from` (a seq) are shown to the model as `summary` from now on."""

    kept_from: int
    summary: str
    summary_tokens: int
    freed_tokens: int


class RetryScheduled(Fact, frozen=True, kw_only=True, tag="retry.scheduled"):
    attempt: int
    delay_s: float
    error: str


class SubagentStarted(Fact, frozen=True, kw_only=True, tag="subagent.started"):
    """The envelope's `agent` names the sub-agent."""

    task: str


class SubagentFinished(Fact, frozen=True, kw_only=True, tag="subagent.finished"):
    """The envelope's `agent` names the sub-agent."""

    status: str
    result: str


class ErrorRaised(Fact, frozen=True, kw_only=True, tag="error"):
    code: str
    message: str
    hint: str = ""


class Result(Fact, frozen=True, kw_only=True, tag="result"):
    """What came of a turn; always the last event of a headless run."""

    status: ResultStatus
    result: str
    session_id: str
    exit_code: int
    steps: int = 0
    calls: int = 0
    usage: Usage = Usage()
    verification: list[Evidence] = []
    files_changed: list[str] = []
    duration_s: float = 0.0
    error: str | None = None


class AssistantDelta(Signal, frozen=True, kw_only=True, tag="assistant.delta"):
    text: str = ""
    thinking: str = ""


class CallOutput(Signal, frozen=True, kw_only=True, tag="call.output"):
    id: str
    chunk: str


class Progress(Signal, frozen=True, kw_only=True, tag="progress"):
    """`phase`: load, prefill, sample ... ; `done` of `total` in `unit`; total 0: not known."""

    phase: str
    done: int
    total: int
    unit: str = "tokens"


FACTS: tuple[type[Fact], ...] = tuple(Fact.__subclasses__())
SIGNALS: tuple[type[Signal], ...] = tuple(Signal.__subclasses__())
