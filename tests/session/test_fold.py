"""The state of a session is what its records say, one record at a time."""

from kimi_code.events import (
    ApprovalRequested,
    ApprovalResolved,
    AssistantDelta,
    AssistantMessage,
    Call,
    CallFinished,
    CallRequested,
    CallStarted,
    CandidateTried,
    Fact,
    PlanUpdated,
    Result,
    Signal,
    Todo,
    TurnEnded,
    TurnStarted,
    Usage,
    UserMessage,
)
from kimi_code.session.codec import Record, UnknownFact
from kimi_code.session.fold import Allowed, State, fold


def _records(*events: Fact | Signal) -> list[Record]:
    return [
        Record(seq=seq, time=100.0 + seq, session="s", agent="main", event=event)
        for seq, event in enumerate(events)
    ]


def test_a_whole_turn(opening: list[Fact], turn: list[Fact]) -> None:
    state = fold(_records(*opening, *turn))
    assert state.started == opening[0]
    assert state.prompt == opening[1]
    assert (state.title, state.turn, state.open_turn) == ("Fix the failing test", 1, False)
    assert (state.steps, state.calls, state.turn_steps, state.turn_calls) == (2, 1, 2, 1)
    assert state.usage == state.turn_usage == Usage(prompt=220, cached=100, completion=15)
    assert list(state.files_changed) == ["a.py"]
    assert (state.began, state.last_time, state.seq) == (100.0, 110.0, 10)
    assert (state.result, state.status) == (turn[-1], "done")
    assert not state.pending


def test_a_second_turn_counts_anew(turn: list[Fact]) -> None:
    more = (
        TurnStarted(turn=2),
        UserMessage(text="and now?"),
        AssistantMessage(text="x", usage=Usage(prompt=1)),
    )
    state = fold(_records(*turn, *more))
    assert (state.turn, state.open_turn, state.status) == (2, True, "interrupted")
    assert (state.steps, state.turn_steps, state.calls, state.turn_calls) == (3, 1, 1, 0)
    assert state.turn_usage == Usage(prompt=1)
    assert state.title == "Fix the failing test"
    assert state.result is None


def test_a_healed_turn_has_its_own_status(turn: list[Fact]) -> None:
    more = (TurnStarted(turn=2), TurnEnded(turn=2, reason="interrupted"))
    assert fold(_records(*turn, *more)).status == "interrupted"
    assert fold(_records()).status == "new"


def test_a_call_is_pending_until_its_outcome() -> None:
    call = Call(id="c", name="Write", arguments={"path": "a"})
    events = (
        AssistantMessage(text="", calls=[call]),
        CallRequested(id="c", name="Write", arguments={"path": "a"}),
        CallStarted(id="c", name="Write", target="/a"),
        CallFinished(id="c", name="Write", status="ok", content=""),
    )
    state = State()
    stages: list[list[tuple[str, Call]]] = []
    for record in _records(*events):
        state.apply(record)
        stages.append([(pending.stage, pending.call) for pending in state.pending.values()])
    assert stages == [[("made", call)], [("requested", call)], [("started", call)], []]


def test_what_was_allowed_for_the_session_is_known() -> None:
    call = Call(id="c", name="Bash", arguments={"command": "make"})
    events: list[Fact] = []
    for number, decision in enumerate(("once", "session", "deny")):
        events += [
            CallRequested(id="c", name="Bash", arguments={"command": "make"}),
            ApprovalRequested(id=f"a{number}", call="c", what=f"make {number}", why=""),
            ApprovalResolved(id=f"a{number}", call="c", decision=decision, by="person"),
        ]
    state = fold(_records(*events))
    assert state.allowed == [Allowed(call=call, what="make 1")]
    assert state.asked == {}


def test_the_plan_is_the_last_one_and_candidates_cost() -> None:
    state = fold(
        _records(
            PlanUpdated(todos=[Todo(title="a")]),
            PlanUpdated(todos=[Todo(title="b", status="done")]),
            CandidateTried(round=1, candidate=1, passed=False, summary="", usage=Usage(completion=9)),
        )
    )
    assert state.todos == [Todo(title="b", status="done")]
    assert state.usage.completion == 9
    assert state.steps == 0


def test_signals_and_unknown_facts_change_nothing_but_the_clock(turn: list[Fact]) -> None:
    records = _records(*turn)
    before, after = fold(records), fold(records)
    after.apply(Record(seq=8, time=999.0, session="s", agent="main", event=AssistantDelta(text="x")))
    assert vars(after) == vars(before)
    after.apply(Record(seq=9, time=999.0, session="s", agent="main", event=UnknownFact(raw={})))
    assert (after.seq, after.last_time) == (9, 999.0)


def test_only_a_persons_first_words_are_the_title() -> None:
    state = fold(
        _records(
            UserMessage(text="verification fails", origin="verify"),
            UserMessage(text="  \n"),
            UserMessage(text="x " * 500_000),
        )
    )
    assert state.title.startswith("x x x")
    assert len(state.title) <= 120


def test_results_add_up_the_files() -> None:
    results = [
        Result(status="done", result="", session_id="s", exit_code=0, files_changed=files)
        for files in (["b", "a"], ["a", "c"])
    ]
    assert list(fold(_records(*results)).files_changed) == ["b", "a", "c"]
