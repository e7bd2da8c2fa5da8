"""The eight rules of the one log, each held by a test here; what they rest on is tested beside it."""

import json
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kimi_code.errors import StorageFailure
from kimi_code.events import (
    FACTS,
    SIGNALS,
    AssistantDelta,
    AssistantMessage,
    Call,
    CallFinished,
    CallOutput,
    CallRequested,
    CallStarted,
    CompactionFinished,
    Fact,
    TurnStarted,
    UserMessage,
)
from kimi_code.session.codec import Record
from kimi_code.session.fold import fold
from kimi_code.session.log import SessionLog
from kimi_code.session.scan import scan_bytes
from kimi_code.session.session import Session
from kimi_code.session.store import Store


def _on_disk(session: Session) -> list[dict[str, Any]]:
    return [json.loads(line) for line in session.log.path.read_bytes().splitlines()]


def test_rule_1_facts_are_kept_and_signals_are_not(session: Session) -> None:
    session.append(TurnStarted(turn=1))
    session.signal(AssistantDelta(text="Hel"))
    session.signal(CallOutput(id="c", chunk="out"))
    session.append(AssistantMessage(text="Hello"))
    assert [each["type"] for each in _on_disk(session)] == ["turn.started", "assistant.message"]
    assert not set(FACTS) & set(SIGNALS)


def test_rule_2_written_first_then_told(session: Session) -> None:
    seen: list[tuple[int, int]] = []
    session.log.listen(lambda record: seen.append((record.seq, _on_disk(session)[-1]["seq"])))
    for number in range(3):
        session.append(UserMessage(text=str(number)))
    assert seen == [(0, 0), (1, 1), (2, 2)]


def test_rule_2_what_could_not_be_written_is_not_told(session: Session) -> None:
    told: list[Record] = []
    session.log.listen(told.append)
    session.append(UserMessage(text="a"))
    session.close()
    with pytest.raises(StorageFailure):
        session.append(UserMessage(text="b"))
    assert [record.seq for record in told] == [0]
    assert session.state.seq == 0


async def test_rule_2_a_slow_reader_follows_again_and_misses_nothing(session: Session) -> None:
    for number in range(5):
        session.append(UserMessage(text=str(number)))
    async for record in session.log.follow(2):
        if record.seq < 4:
            session.append(UserMessage(text="more"))
        if record.seq == 6:
            break
    session.close()
    assert [record.seq async for record in session.log.follow(5)] == [5, 6]


def _plain(kind: Any) -> bool:
    """Whether a type holds nothing but strings, numbers and what is made of them."""
    if kind in (str, int, float, bool, type(None), Any):
        return True
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return all(_plain(hint) for hint in typing.get_type_hints(kind).values())
    if typing.get_origin(kind) is typing.Literal:
        return all(isinstance(each, str) for each in typing.get_args(kind))
    return bool(typing.get_args(kind)) and all(map(_plain, typing.get_args(kind)))


@pytest.mark.parametrize("kind", [*FACTS, *SIGNALS], ids=lambda kind: kind.__name__)
def test_rule_3_events_hold_strings_numbers_and_ids(kind: type[msgspec.Struct]) -> None:
    assert _plain(kind)
    assert not _plain(Path)
    assert not _plain(dict[str, Path])


@pytest.mark.parametrize("foreign", [Path("a"), object(), str, print, 1j])
def test_rule_3_anything_else_is_refused_and_leaves_the_log_whole(session: Session, foreign: object) -> None:
    session.append(UserMessage(text="a"))
    with pytest.raises(TypeError):
        session.append(CallRequested(id="c", name="x", arguments={"path": foreign}))
    assert session.append(UserMessage(text="b")).seq == 1
    assert scan_bytes(session.log.path.read_bytes()).problems() == []


def test_rule_4_one_outcome_a_call_also_when_closed_twice_or_after_a_crash(store: Store) -> None:
    calls = [Call(id=f"c{n}", name="Bash", arguments={}) for n in range(3)]
    session = store.create([TurnStarted(turn=1), AssistantMessage(text="", calls=calls)])
    session.append(CallRequested(id="c0", name="Bash", arguments={}))
    session.append(CallStarted(id="c0", name="Bash", target=""))
    session.append(CallFinished(id="c0", name="Bash", status="ok", content=""))
    session.close_calls()
    session.close_calls()
    session.close()
    again = store.open(session.id)
    outcomes = [r.event.id for r in again.log.records if isinstance(r.event, CallFinished)]
    assert outcomes == ["c0", "c1", "c2"]
    assert [each["type"] for each in _on_disk(again)][-1] == "turn.ended"
    again.close()


def test_rule_5_each_agent_has_a_log_of_its_own(session: Session) -> None:
    other = SessionLog.create(session.directory / "agent-2.jsonl", session=session.id, agent="agent-2")
    session.append(UserMessage(text="mine"))
    record = other.append(UserMessage(text="theirs"))
    assert (record.seq, record.agent, record.session) == (0, "agent-2", session.id)
    other.close()
    again = SessionLog.open(other.path)
    assert (again.agent, again.session) == ("agent-2", session.id)
    again.close()


def test_rule_5_compaction_is_a_fact_and_rewrites_nothing(session: Session) -> None:
    for number in range(4):
        session.append(UserMessage(text=str(number)))
    before = session.log.path.read_bytes()
    session.append(CompactionFinished(kept_from=2, summary="s", summary_tokens=1, freed_tokens=1))
    assert session.log.path.read_bytes().startswith(before)
    assert [record.seq for record in session.log.records] == [0, 1, 2, 3, 4]


def test_rule_6_a_reader_cannot_stop_or_change_what_is_recorded(session: Session) -> None:
    def objects(_: Record) -> None:
        raise RuntimeError("no")

    session.log.listen(objects)
    heard: list[int] = []
    session.log.listen(lambda record: heard.append(record.seq))
    with pytest.raises(RuntimeError):
        session.append(UserMessage(text="a"))
    assert (len(_on_disk(session)), session.state.seq, heard) == (1, 0, [0])
    with pytest.raises(AttributeError):
        session.log.records[0].event.text = "b"  # type: ignore[union-attr, misc]


def test_rule_7_everything_is_computed_from_the_lines(store: Store, turn: list[Fact]) -> None:
    session = store.create(turn)
    live = vars(session.state)
    assert vars(fold(scan_bytes(session.log.path.read_bytes()).records)) == live
    session.close()
    listed = store.sessions()
    (store.root / "index.json").unlink()
    assert store.sessions() == listed


def test_rule_8_intent_without_outcome_is_unknown_never_done_and_never_nothing(store: Store) -> None:
    session = store.create(
        [
            TurnStarted(turn=1),
            CallRequested(id="c", name="Bash", arguments={"command": "git push"}),
            CallStarted(id="c", name="Bash", target="git push"),
        ]
    )
    session.close()
    again = store.open(session.id)
    finished = [r.event for r in again.log.records if isinstance(r.event, CallFinished)]
    assert [(each.id, each.status) for each in finished] == [("c", "unknown")]
    again.close()


_SYNCED = """\
import sys
from pathlib import Path
from kimi_code.events import UserMessage
from kimi_code.session.store import Store
session = Store(Path(sys.argv[1])).create()
session.append(UserMessage(text="a"))
session.append(UserMessage(text="b"))
session.sync()
session.append(UserMessage(text="c"))
"""


def test_rule_7_nothing_is_forced_to_the_disk_but_by_sync(tmp_path: Path) -> None:
    """What reaches the kernel is seen by strace: two writes, the file and its folders, one write."""
    trace = tmp_path / "trace"
    calls = "trace=pwrite64,fdatasync,fsync"
    command = ["strace", "-f", "-qq", "-o", trace, "-e", calls, sys.executable, "-c", _SYNCED, tmp_path / "s"]
    try:
        ran = subprocess.run(command, check=False, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.fail("strace is not installed")
    if b"ptrace" in ran.stderr:
        pytest.fail("strace may not trace here")
    names = [line.split("(")[0].split()[-1] for line in trace.read_text().splitlines()]
    assert names == ["pwrite64", "pwrite64", "fdatasync", "fsync", "fsync", "pwrite64"]
