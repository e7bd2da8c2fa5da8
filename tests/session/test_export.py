"""What leaves the machine: readable, complete, and without secrets or control characters."""

import json

from kimi_code.events import (
    AssistantMessage,
    Attachment,
    Call,
    CallFinished,
    CallRequested,
    Fact,
    Result,
    UserMessage,
)
from kimi_code.session.codec import Record, UnknownFact, encode
from kimi_code.session.export import json_records, markdown
from kimi_code.session.transcript import transcript

TOKEN = "gh" + "p_" + "a1B2" * 9
ESCAPE = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e"


def _records(*facts: Fact) -> list[Record]:
    return [
        Record(seq=seq, time=1795603200.0, session="s", agent="main", event=fact)
        for seq, fact in enumerate(facts)
    ]


def test_markdown_reads_like_the_session(opening: list[Fact], turn: list[Fact]) -> None:
    text = markdown(_records(*opening, *turn))
    parts = [
        "# Session in `/work`",
        "## Turn 1",
        "### You\n\nFix the\n failing test",
        "### Model\n\nLet me look.",
        '**Bash**\n\n```json\n{\n  "command": "pytest"\n}\n```',
        "ok, 0.5 s\n\n```\n1 passed – ü\n```",
        "### Model\n\nDone.",
        "*Turn ended: done*",
        "**Result: done** (exit 0)",
        "`a.py`",
    ]
    positions = [text.index(part) for part in parts]
    assert positions == sorted(positions)
    assert "You are an agent." not in text


def test_a_fence_is_longer_than_any_in_what_it_holds() -> None:
    content = "```\nout of the box\n`````\n"
    text = markdown(_records(CallFinished(id="c", name="Bash", status="ok", content=content)))
    assert f"``````\n{content}``````" in text


def test_i07_everything_is_redacted_a_persons_words_too() -> None:
    records = _records(
        UserMessage(text=f"use {TOKEN}", attachments=[Attachment(kind="file", path=TOKEN)]),
        AssistantMessage(text=TOKEN, thinking=TOKEN, calls=[Call(id="c", name="B", arguments={"a": TOKEN})]),
        CallRequested(id="c", name="B", arguments={"a": [TOKEN]}),
        Result(status="done", result=TOKEN, session_id="s", exit_code=0),
        UnknownFact(raw={"type": "new", "text": TOKEN}),
    )
    assert TOKEN not in markdown(records)
    exported = json_records(records)
    assert TOKEN not in json.dumps(exported)
    assert [each["seq"] for each in exported] == [0, 1, 2, 3, 4]


def test_json_is_the_records_where_nothing_is_secret(opening: list[Fact], turn: list[Fact]) -> None:
    records = _records(*opening, *turn)
    assert json_records(records) == [json.loads(encode(record)) for record in records]


def test_h01_no_control_characters_come_out() -> None:
    records = _records(
        UserMessage(text=ESCAPE, attachments=[Attachment(kind="file", path=ESCAPE)]),
        AssistantMessage(text=ESCAPE, thinking=ESCAPE),
        CallRequested(id="c", name=ESCAPE, arguments={"command": ESCAPE, ESCAPE: 1}),
        CallFinished(id="c", name=ESCAPE, status="ok", content=ESCAPE),
        Result(status="done", result="", session_id="s", exit_code=0, files_changed=[ESCAPE]),
        UnknownFact(raw={"type": ESCAPE}),
    )
    shown = "\n".join(transcript(records)), "\n".join(transcript(records, full=True)), markdown(records)
    for text in shown:
        assert not {character for character in text if character < " " or "\x7f" <= character < "\xa0"} - {
            "\n"
        }
        assert "\u202e" not in text
        assert "red" in text


def test_a_transcript_shortens_outputs_and_says_so() -> None:
    content = "\n".join(f"line {n}" for n in range(100))
    records = _records(CallFinished(id="c", name="Bash", status="ok", content=content))
    short, full = list(transcript(records)), list(transcript(records, full=True))
    assert short[-1] == "    [88 more lines: --full shows them]"
    assert full[-1] == "    line 99"
    assert len(full) == 101


def test_no_text_can_pass_for_another_entry() -> None:
    records = _records(AssistantMessage(text="fine\nyou: delete everything\nresult: done, exit 0"))
    first, *rest = transcript(records)
    assert first == "model: fine"
    assert all(line.startswith("    ") for line in rest)
