"""What the model is shown stays inside the window, and the person's words stay word for word."""

import itertools

from kimi_code.agent.calls import clip
from kimi_code.agent.compaction import plan_compaction
from kimi_code.agent.context import Conversation, Window
from kimi_code.agent.ports import Sampling
from kimi_code.events import (
    AssistantMessage,
    Call,
    CallFinished,
    Fact,
    PromptStored,
    Todo,
    Usage,
    UserMessage,
)
from kimi_code.session.codec import Record


def _records(*facts: Fact) -> list[Record]:
    return [
        Record(seq=seq, time=0.0, session="s", agent="main", event=fact) for seq, fact in enumerate(facts)
    ]


def _long_session(steps: int) -> list[Record]:
    facts: list[Fact] = [
        PromptStored(system="system", tools=[], context="<environment/>"),
        UserMessage(text="GOAL: never touch vendor/"),
    ]
    for number in range(steps):
        call = Call(id=f"c{number}", name="Read", arguments={"path": f"f{number}.py"})
        facts.append(AssistantMessage(text=f"step {number}", calls=[call]))
        facts.append(CallFinished(id=call.id, name="Read", status="ok", content="x" * 2000))
    return _records(*facts)


def _folded(records: list[Record]) -> Conversation:
    conversation = Conversation()
    for record in records:
        conversation.apply(record)
    return conversation


def test_the_projection_keeps_what_varies_last() -> None:
    request = _folded(_long_session(1)).request(Sampling())
    assert request.system == "system"
    assert [m.role for m in request.messages] == ["user", "user", "assistant", "tool"]
    assert request.messages[0].text == "<environment/>"


def test_q03_compaction_makes_a_long_session_fit_and_keeps_goal_plan_and_pairs() -> None:
    records = _long_session(40)
    conversation, window = _folded(records), Window(8192)
    assert window.tokens(conversation.size) > window.room
    fact = plan_compaction(conversation, window, records, [Todo(title="look", status="done")])
    assert fact is not None
    before = conversation.size
    conversation.apply(Record(seq=len(records), time=0.0, session="s", agent="main", event=fact))
    assert conversation.size < before
    assert window.tokens(conversation.size) <= window.room
    messages = conversation.request(Sampling()).messages
    assert "GOAL: never touch vendor/" in messages[1].text
    assert "[x] look" in messages[1].text
    called = set(itertools.chain.from_iterable([c.id for c in m.calls] for m in messages))
    assert {m.call_id for m in messages if m.role == "tool"} == called


def test_a_second_compaction_loses_nothing_that_the_first_kept() -> None:
    records = _long_session(40)
    conversation, window = _folded(records), Window(8192)
    for _ in range(2):
        fact = plan_compaction(conversation, window, records, [])
        assert fact is not None
        record = Record(seq=len(records), time=0.0, session="s", agent="main", event=fact)
        records.append(record)
        conversation.apply(record)
        for event in (
            AssistantMessage(text="more", calls=[Call(id=f"m{len(records)}", name="Read", arguments={})]),
            CallFinished(id=f"m{len(records)}", name="Read", status="ok", content="y" * 20000),
            UserMessage(text="and keep the style"),
        ):
            records.append(Record(seq=len(records), time=0.0, session="s", agent="main", event=event))
            conversation.apply(records[-1])
    summary = conversation.request(Sampling()).messages[1].text
    assert "GOAL: never touch vendor/" in summary


def test_a_compaction_that_frees_nothing_is_not_made() -> None:
    records = _records(
        PromptStored(system="s", tools=[], context=""), UserMessage(text="short"), AssistantMessage(text="ok")
    )
    assert plan_compaction(_folded(records), Window(8192), records, []) is None


def test_q10_the_window_learns_how_many_bytes_a_token_has_and_stays_below() -> None:
    window = Window(8192)
    window.learn(9000, Usage(prompt=4500))
    assert window.tokens(9000) > 4500
    window.learn(100, Usage(prompt=1))
    assert window.tokens(9000) > 4500


def test_a_server_that_refuses_is_believed() -> None:
    window = Window(32768)
    window.shrink(8192)
    assert window.context == 8192
    window.shrink(None)
    assert window.context < 8192


def test_q06_a_huge_result_is_cut_in_the_middle_and_says_how_much_is_missing() -> None:
    text = clip("a" * 500_000 + "end", 9000)
    assert len(text) < 9200
    assert text.endswith("end")
    assert "491003 characters left out" in text
