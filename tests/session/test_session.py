"""Opening a session closes what a crash left open, once, and says honestly what is not known."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kimi_code.errors import StorageFailure, UsageError
from kimi_code.events import (
    AssistantMessage,
    Call,
    CallFinished,
    CallRequested,
    CallStarted,
    Fact,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from kimi_code.session.codec import Record
from kimi_code.session.session import Session
from kimi_code.session.store import Store

CALLS = [Call(id=f"c{n}", name="Bash", arguments={"command": f"make {n}"}) for n in range(3)]


def _events(session: Session) -> list[Fact]:
    return [record.event for record in session.log.records if isinstance(record.event, Fact)]


def _crash_with(store: Store, facts: list[Fact]) -> Session:
    """Opened again after a process that appended these was gone."""
    session = store.create(facts)
    session.close()
    return store.open(session.id)


def _torn_turn() -> list[Fact]:
    """The first call is done, the second was running, the third never began."""
    return [
        TurnStarted(turn=1),
        UserMessage(text="build"),
        AssistantMessage(text="", calls=CALLS),
        CallRequested(id="c0", name="Bash", arguments=CALLS[0].arguments),
        CallStarted(id="c0", name="Bash", target="make 0"),
        CallFinished(id="c0", name="Bash", status="ok", content="built"),
        CallRequested(id="c1", name="Bash", arguments=CALLS[1].arguments),
        CallStarted(id="c1", name="Bash", target="make 1"),
    ]


def test_m11_every_call_has_exactly_one_outcome_after_a_crash(store: Store) -> None:
    session = _crash_with(store, _torn_turn())
    events = _events(session)
    outcomes = {event.id: event.status for event in events if isinstance(event, CallFinished)}
    assert outcomes == {"c0": "ok", "c1": "unknown", "c2": "interrupted"}
    assert sum(isinstance(event, CallFinished) for event in events) == 3
    requested = [event.id for event in events if isinstance(event, CallRequested)]
    assert requested == ["c0", "c1", "c2"]
    assert events[-1] == TurnEnded(
        turn=1, reason="interrupted", detail="the program ended before the turn did"
    )
    unknown = next(event for event in events if isinstance(event, CallFinished) and event.id == "c1")
    assert "outcome is unknown" in unknown.content
    assert "before you repeat it" in unknown.content
    session.close()


@pytest.mark.parametrize("length", range(1, 9))
def test_m11_wherever_it_stopped_the_pairs_are_whole_and_healing_is_done_once(
    store: Store, length: int
) -> None:
    session = _crash_with(store, _torn_turn()[:length])
    events = _events(session)
    session.close()
    made = [call.id for event in events if isinstance(event, AssistantMessage) for call in event.calls]
    assert sorted(made) == sorted(event.id for event in events if isinstance(event, CallFinished))
    assert sum(isinstance(event, TurnEnded) for event in events) == 1
    again = store.open(session.id)
    assert _events(again) == events
    assert again.state.status == "interrupted"
    again.close()


def test_a_call_that_only_waited_was_not_done(store: Store) -> None:
    session = _crash_with(
        store, [TurnStarted(turn=1), CallRequested(id="c", name="Bash", arguments={"command": "rm x"})]
    )
    finished = _events(session)[-2]
    assert isinstance(finished, CallFinished)
    assert (finished.status, finished.content) == (
        "interrupted",
        "Interrupted before it was done: nothing was changed.",
    )
    session.close()


_KILLED = """\
import os, signal, sys
from pathlib import Path
from kimi_code.events import CallRequested, CallStarted, TurnStarted
from kimi_code.session.store import Store
session = Store(Path(sys.argv[1])).create()
session.append(TurnStarted(turn=1))
session.append(CallRequested(id="c", name="Write", arguments={"path": "a"}))
session.append(CallStarted(id="c", name="Write", target="a"))
session.sync()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_m11_killed_in_the_middle_of_a_call(store: Store) -> None:
    ran = subprocess.run([sys.executable, "-c", _KILLED, store.root], check=False)
    assert ran.returncode == -signal.SIGKILL
    (info,) = store.sessions()
    assert info.status == "interrupted"
    session = store.open(info.id)
    assert [type(event) for event in _events(session)[-2:]] == [CallFinished, TurnEnded]
    session.close()


def test_a_session_that_cannot_be_healed_is_not_kept_locked(store: Store) -> None:
    session = store.create(_torn_turn())
    session.close()
    program = (
        "import resource, sys; from pathlib import Path; from kimi_code.session.store import Store\n"
        "from kimi_code.errors import StorageFailure\n"
        "store = Store(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, -1))\n"
        "try: store.open(sys.argv[2])\n"
        "except StorageFailure: pass\n"
        "else: sys.exit(7)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))\n"
        "print(len(store.open(sys.argv[2]).log.records))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, store.root, session.id], capture_output=True, text=True, check=False
    )
    # Eight facts; the outcome of one, request and outcome of another, and the end of the turn.
    assert (ran.returncode, ran.stdout) == (0, "12\n"), ran.stderr


def test_m10_a_session_in_use_is_refused(store: Store, session: Session) -> None:
    with pytest.raises(UsageError, match=f"process {os.getpid()}"):
        store.open(session.id)
    session.append(UserMessage(text="goes on"))


def test_i01_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    for umask in (0o000, 0o077, 0o277):
        previous = os.umask(umask)
        try:
            store = Store(tmp_path / f"{umask:o}" / "sessions") if umask != 0o277 else Store(tmp_path)
            session = store.create([TurnStarted(turn=1)])
            session.close()
            with session.log.path.open("ab") as file:
                file.write(b"torn")
            store.open(session.id).close()
            store.sessions()
            forked = store.fork(session.id)
            forked.close()
        finally:
            os.umask(previous)
        for folder in (session.directory, session.spill_dir, forked.directory, forked.spill_dir):
            assert folder.stat().st_mode & 0o777 == 0o700, (oct(umask), folder)
        files = [path for path in session.directory.iterdir() if path.is_file()]
        assert {path.name for path in files} == {"main.jsonl", "main.jsonl.torn-1"}
        for path in (*files, store.root / "index.json"):
            assert path.stat().st_mode & 0o077 == 0, (oct(umask), path)


def test_what_cannot_be_created_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        Session.create(tmp_path / "s", [CallRequested(id="c", name="x", arguments={"path": Path("a")})])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileExistsError):
        Session.create(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailure, match="cannot be created"):
        Session.create(tmp_path / "file" / "s")


def test_the_state_follows_before_anybody_else_hears(session: Session) -> None:
    turns: list[tuple[int, int]] = []

    def reader(record: Record) -> None:
        if isinstance(record.event, TurnStarted):
            turns.append((record.event.turn, session.state.turn))

    session.log.listen(reader)
    session.append(TurnStarted(turn=1))
    session.append(TurnStarted(turn=2))
    assert turns == [(1, 1), (2, 2)]


def test_a_session_may_be_moved_to_another_folder(store: Store, turn: list[Fact]) -> None:
    session = store.create(turn)
    session.close()
    shutil.move(session.directory, store.root / "20260101-000000-moved")
    moved = store.open("20260101-000000-moved")
    assert _events(moved) == turn
    moved.close()


def test_a_read_that_was_cut_short_leaves_nothing_unknown(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s")
    session.append(CallRequested(id="c1", name="Read", arguments={"path": "a"}))
    session.append(CallStarted(id="c1", name="Read", target="a", effect=False))
    session.close_calls()
    last = session.log.records[-1].event
    assert isinstance(last, CallFinished)
    assert last.status == "interrupted"
