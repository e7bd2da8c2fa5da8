"""The state of a session, computed from its records; each record costs the same. Pure."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from kimi_code.events import (
    ApprovalRequested,
    ApprovalResolved,
    AssistantMessage,
    Call,
    CallFinished,
    CallRequested,
    CallStarted,
    CandidateTried,
    Fact,
    PlanUpdated,
    PromptStored,
    Result,
    SessionStarted,
    Todo,
    TurnEnded,
    TurnStarted,
    Usage,
    UserMessage,
)
from kimi_code.session.codec import Record

_TITLE = 120


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A call without an outcome: the model made it, the loop took it up, its effect may have begun."""

    call: Call
    stage: Literal["made", "requested", "started"]


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What a person allowed for the rest of the session: the call that asked, and its resolved target."""

    call: Call
    what: str


class State:
    """What is true of a session after its records so far.

    turn_usage, turn_steps, turn_calls count since the turn began, the others since the session did.
    ended and result are those of the last turn, None while it runs.
    """

    def __init__(self) -> None:
        self.started: SessionStarted | None = None
        self.began = 0.0
        self.prompt: PromptStored | None = None
        self.title = ""
        self.turn = 0
        self.open_turn = False
        self.pending: dict[str, Pending] = {}
        self.todos: list[Todo] = []
        self.usage = Usage()
        self.steps = 0
        self.calls = 0
        self.turn_usage = Usage()
        self.turn_steps = 0
        self.turn_calls = 0
        self.files_changed: dict[str, None] = {}  # a set that keeps the order
        self.allowed: list[Allowed] = []
        self.asked: dict[str, ApprovalRequested] = {}
        self.ended: TurnEnded | None = None
        self.result: Result | None = None
        self.last_time = 0.0
        self.seq = -1

    def apply(self, record: Record) -> None:
        """Take the next record into account; signals change nothing."""
        event = record.event
        if not isinstance(event, Fact):
            return
        self.seq, self.last_time = record.seq, record.time
        self.began = self.began or record.time
        if (step := _STEPS.get(type(event))) is not None:
            step(self, event)

    @property
    def status(self) -> str:
        """How the last turn ended: a result's status, `new` before the first, `interrupted` with one open."""
        if self.open_turn:
            return "interrupted"
        if self.result is not None:
            return self.result.status
        return self.ended.reason if self.ended is not None else "new"


def fold(records: Iterable[Record]) -> State:
    """The state after all of them."""
    state = State()
    for record in records:
        state.apply(record)
    return state


def _started(state: State, event: SessionStarted) -> None:
    state.started = event


def _prompt(state: State, event: PromptStored) -> None:
    state.prompt = event


def _turn_started(state: State, event: TurnStarted) -> None:
    state.turn, state.open_turn = event.turn, True
    state.turn_usage, state.turn_steps, state.turn_calls = Usage(), 0, 0
    state.ended = state.result = None


def _turn_ended(state: State, event: TurnEnded) -> None:
    state.open_turn = False
    state.ended = event


def _said(state: State, event: UserMessage) -> None:
    if event.origin == "person" and not state.title:
        # Far more than a title needs, yet not all of a message that may be megabytes long.
        state.title = " ".join(event.text[: _TITLE * 20].split())[:_TITLE]


def _answered(state: State, event: AssistantMessage) -> None:
    state.steps += 1
    state.turn_steps += 1
    _spent(state, event.usage)
    for call in event.calls:
        state.pending[call.id] = Pending(call=call, stage="made")


def _tried(state: State, event: CandidateTried) -> None:
    _spent(state, event.usage)


def _spent(state: State, usage: Usage) -> None:
    state.usage = state.usage + usage
    state.turn_usage = state.turn_usage + usage


def _requested(state: State, event: CallRequested) -> None:
    state.calls += 1
    state.turn_calls += 1
    call = Call(id=event.id, name=event.name, arguments=event.arguments)
    state.pending[event.id] = Pending(call=call, stage="requested")


def _begun(state: State, event: CallStarted) -> None:
    known = state.pending.get(event.id)
    call = known.call if known is not None else Call(id=event.id, name=event.name, arguments={})
    state.pending[event.id] = Pending(call=call, stage="started" if event.effect else "requested")


def _finished(state: State, event: CallFinished) -> None:
    state.pending.pop(event.id, None)


def _asked(state: State, event: ApprovalRequested) -> None:
    state.asked[event.id] = event


def _resolved(state: State, event: ApprovalResolved) -> None:
    asked, pending = state.asked.pop(event.id, None), state.pending.get(event.call)
    if event.decision == "session" and asked is not None and pending is not None:
        state.allowed.append(Allowed(call=pending.call, what=asked.what))


def _planned(state: State, event: PlanUpdated) -> None:
    state.todos = event.todos


def _resulted(state: State, event: Result) -> None:
    state.result = event
    state.files_changed.update(dict.fromkeys(event.files_changed))


_STEPS: dict[type[Fact], Callable[[State, Any], None]] = {
    SessionStarted: _started,
    PromptStored: _prompt,
    TurnStarted: _turn_started,
    TurnEnded: _turn_ended,
    UserMessage: _said,
    AssistantMessage: _answered,
    CandidateTried: _tried,
    CallRequested: _requested,
    CallStarted: _begun,
    CallFinished: _finished,
    ApprovalRequested: _asked,
    ApprovalResolved: _resolved,
    PlanUpdated: _planned,
    Result: _resulted,
}
