"""The state of a session, computed from its records; each record costs the same. Pure."""

from kimi_code.events import (
    AssistantMessage,
    CallFinished,
    CallRequested,
    CallStarted,
    CandidateTried,
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


class State:
    """What is true of a session after its records so far.

    pending: id -> (tool, whether its effect had begun) of calls without an outcome.
    open_turn: a turn began and did not end.
    """

    def __init__(self) -> None:
        self.started: SessionStarted | None = None
        self.prompt: PromptStored | None = None
        self.title = ""
        self.turn = 0
        self.open_turn = False
        self.pending: dict[str, tuple[str, bool]] = {}
        self.todos: list[Todo] = []
        self.usage = Usage()
        self.steps = 0
        self.calls = 0
        self.result: Result | None = None
        self.last_time = 0.0

    def apply(self, record: Record) -> None:
        self.last_time = record.time
        event = record.event
        match event:
            case CallRequested(id=call_id, name=name):
                self.calls += 1
                self.pending[call_id] = (name, False)
            case CallStarted(id=call_id, name=name):
                self.pending[call_id] = (name, True)
            case CallFinished(id=call_id):
                self.pending.pop(call_id, None)
            case AssistantMessage(usage=usage):
                self.steps += 1
                self.usage = self.usage + usage
            case CandidateTried(usage=usage):
                self.usage = self.usage + usage
            case PlanUpdated(todos=todos):
                self.todos = todos
            case _:
                self._apply_rare(record)

    def _apply_rare(self, record: Record) -> None:
        match record.event:
            case SessionStarted() as started:
                self.started = started
            case PromptStored() as prompt:
                self.prompt = prompt
            case TurnStarted(turn=turn):
                self.turn, self.open_turn = turn, True
            case TurnEnded():
                self.open_turn = False
            case UserMessage(text=text, origin="person") if not self.title:
                self.title = " ".join(text.split())[:120]
            case Result() as result:
                self.result = result
            case _:
                pass
