"""The folder of sessions: names, lists, forks, and an index that may be thrown away."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from kimi_code.errors import StorageFailure, UsageError
from kimi_code.events import (
    AssistantMessage,
    Call,
    CallFinished,
    CompactionFinished,
    Fact,
    SessionStarted,
    TurnEnded,
    TurnStarted,
    UserMessage,
)
from kimi_code.session.session import Session
from kimi_code.session.store import Store


def _closed(store: Store, facts: list[Fact], cwd: str = "/work") -> str:
    started = SessionStarted(version="1", cwd=cwd, model="m", approval="auto", sandbox="none")
    session = store.create([started, *facts])
    session.close()
    return session.id


def test_ids_sort_by_time_and_are_found_by_a_beginning(store: Store) -> None:
    first = _closed(store, [])
    time.sleep(1.1)
    second = _closed(store, [])
    assert first < second
    assert store.folder(second[:-2]).name == second
    assert store.folder(second).name == second
    with pytest.raises(UsageError, match="several sessions: " + first):
        store.folder(first[:4])
    for wrong in ("", "nope", "../" + first, "/", "."):
        with pytest.raises(UsageError, match="no session"):
            store.folder(wrong)


def test_a_whole_id_is_never_ambiguous(store: Store) -> None:
    name = _closed(store, [])
    Session.create(store.root / f"{name}0").close()
    assert store.folder(name).name == name


def test_a_list_has_what_one_needs_and_the_last_used_first(store: Store, turn: list[Fact]) -> None:
    old, new = _closed(store, turn, "/a"), _closed(store, [], "/b")
    session = store.open(old)
    session.append(UserMessage(text="later"))
    session.close()
    infos = store.sessions()
    assert [info.id for info in infos] == [old, new]
    info = infos[0]
    assert (info.cwd, info.title, info.model, info.turns, info.steps, info.status) == (
        "/a",
        "Fix the failing test",
        "m",
        1,
        2,
        "done",
    )
    assert info.started <= info.updated
    assert infos[1].status == "new"


def test_the_latest_is_that_of_the_folder(store: Store) -> None:
    mine = _closed(store, [], "/mine")
    _closed(store, [], "/other")
    assert store.latest("/mine") == mine
    with pytest.raises(UsageError, match="no session in /none"):
        store.latest("/none")


@pytest.mark.parametrize(
    "damage",
    ["missing", "not json", "another shape", "another format", "binary", "a folder", "deep", "empty"],
)
def test_m08_an_index_that_does_not_fit_is_computed_again(
    store: Store, turn: list[Fact], damage: str
) -> None:
    names = {_closed(store, turn), _closed(store, [])}
    before = store.sessions()
    index = store.root / "index.json"
    good = index.read_bytes()
    contents = {
        "not json": b"this is not a database",
        "another shape": b'{"format": 1, "sessions": {"x": 3}}',
        "another format": good.replace(b'"format":1', b'"format":0').replace(b"Fix", b"Old"),
        "binary": os.urandom(4096),
        "deep": b"[" * 100_000,
        "empty": b"",
    }
    index.unlink()
    if damage == "a folder":
        index.mkdir()
    elif damage in contents:
        index.write_bytes(contents[damage])
    assert store.sessions() == before
    assert {info.id for info in before} == names
    if damage != "a folder":
        assert index.read_bytes() == good


def test_m08_an_index_of_other_logs_is_not_believed(store: Store, turn: list[Fact]) -> None:
    name = _closed(store, [])
    store.sessions()
    session = store.open(name)
    for fact in turn:
        session.append(fact)
    session.close()
    gone = _closed(store, [])
    store.sessions()
    store.remove(gone)
    assert [(info.id, info.turns) for info in store.sessions()] == [(name, 1)]


def test_m08_lists_work_where_nothing_can_be_written(store: Store, turn: list[Fact]) -> None:
    name = _closed(store, turn)
    program = (
        "import resource, sys; from pathlib import Path; from kimi_code.session.store import Store\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, -1))\n"
        "print([info.id for info in Store(Path(sys.argv[1])).sessions()])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, store.root], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == (f"[{name!r}]\n", "")
    assert sorted(path.name for path in store.root.iterdir()) == [name]


def test_the_index_is_used_where_it_fits(store: Store, turn: list[Fact]) -> None:
    _closed(store, turn)
    store.sessions()
    index = store.root / "index.json"
    index.write_bytes(index.read_bytes().replace(b"Fix the failing", b"From the index"))
    assert store.sessions()[0].title == "From the index test"


def test_folders_without_a_log_and_links_are_no_sessions(store: Store, tmp_path: Path) -> None:
    name = _closed(store, [])
    (store.root / "20260101-000000-empty").mkdir()
    (store.root / "linked").symlink_to(store.root / name)
    assert [info.id for info in store.sessions()] == [name]
    assert Store(tmp_path / "nowhere").sessions() == []


def test_a_running_session_is_listed_as_running(store: Store) -> None:
    session = store.create([TurnStarted(turn=1)])
    assert store.sessions()[0].status == "running"
    session.close()
    assert store.sessions()[0].status == "interrupted"


def test_a_fork_has_the_same_facts_under_its_own_name(
    store: Store, opening: list[Fact], turn: list[Fact]
) -> None:
    source = store.create([*opening, *turn])
    (source.spill_dir / "out.txt").write_text("long")
    before = source.log.path.read_bytes()
    fork = store.fork(source.id)
    records = fork.log.records
    assert [record.event for record in records[:-1]] == [*opening, *turn]
    assert [record.time for record in records[:-1]] == [record.time for record in source.log.records]
    assert [record.seq for record in records] == list(range(len(records)))
    assert {record.session for record in records} == {fork.id}
    assert fork.id != source.id
    assert records[-1].event == msgspec.structs.replace(opening[0], resumed_from=source.id)
    assert (fork.spill_dir / "out.txt").read_text() == "long"
    assert fork.state.prompt == opening[1]
    fork.append(UserMessage(text="another way"))
    source.close()
    assert source.log.path.read_bytes() == before
    fork.close()
    assert store.verify(fork.id).ok
    assert store.open(fork.id).log.records == fork.log.records


def test_m10_a_running_session_can_be_forked_and_its_open_calls_are_closed(store: Store) -> None:
    call = Call(id="c", name="Bash", arguments={})
    running = store.create([TurnStarted(turn=1), AssistantMessage(text="", calls=[call])])
    with running.log.path.open("ab") as file:
        file.write(b'{"type":"half')
    fork = store.fork(running.id)
    assert [type(r.event) for r in fork.log.records][-2:] == [CallFinished, TurnEnded]
    assert not fork.state.pending
    assert not fork.state.open_turn
    assert running.state.open_turn
    assert "c" in running.state.pending
    fork.close()
    running.close()


def test_a_fork_of_a_damaged_log_keeps_what_compaction_meant(store: Store) -> None:
    name = _closed(store, [UserMessage(text=str(n)) for n in range(6)])
    session = store.open(name)
    session.append(CompactionFinished(kept_from=4, summary="s", summary_tokens=1, freed_tokens=1))
    session.close()
    lines = session.log.path.read_bytes().splitlines(keepends=True)
    session.log.path.write_bytes(b"".join([*lines[:2], b"damaged\n", *lines[3:]]))
    fork = store.fork(name)
    compaction = next(r.event for r in fork.log.records if isinstance(r.event, CompactionFinished))
    kept = fork.log.records[compaction.kept_from].event
    assert kept == UserMessage(text="3") == session.log.records[4].event
    fork.close()


def test_a_fork_that_fails_leaves_nothing(store: Store, turn: list[Fact]) -> None:
    name = _closed(store, turn)
    (store.root / name / "spill" / "dangling").symlink_to("/no/such/file")
    with pytest.raises(StorageFailure, match="cannot be copied"):
        store.fork(name)
    assert [path.name for path in store.root.iterdir() if path.is_dir()] == [name]


def test_verify_tells_a_torn_tail_from_damage(store: Store, turn: list[Fact]) -> None:
    name = _closed(store, turn)
    path = store.root / name / "main.jsonl"
    assert store.verify(name).ok
    with path.open("ab") as file:
        file.write(b'{"type":"tur')
    before = path.read_bytes()
    report = store.verify(name)
    assert (report.ok, report.torn_bytes, report.records) == (True, 12, 10)
    assert path.read_bytes() == before
    store.open(name).close()
    assert store.verify(name).quarantined == ["main.jsonl.torn-1"]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"\0\0\0\n", *lines[4:]]))
    report = store.verify(name)
    assert not report.ok
    assert report.problems == ["line 4 is damaged", "record 3 is missing"]


def test_verify_does_not_disturb_a_session_in_use(store: Store, session: Session) -> None:
    session.append(UserMessage(text="a"))
    assert store.verify(session.id).records == 1
    session.append(UserMessage(text="b"))
    assert store.verify(session.id).records == 2


def test_remove_refuses_a_session_in_use_and_nothing_else(store: Store, session: Session) -> None:
    session.append(UserMessage(text="a"))
    with pytest.raises(UsageError, match=f"in use by process {os.getpid()}"):
        store.remove(session.id)
    assert session.append(UserMessage(text="b")).seq == 1
    session.close()
    assert store.remove(session.id[:-1]) == session.id
    assert not session.directory.exists()
    assert store.sessions() == []


def test_a_store_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailure, match="cannot be created"):
        Store(tmp_path / "file" / "sessions").create()


_CREATE = """\
import sys
from pathlib import Path
from kimi_code.session.store import Store
from kimi_code.events import TurnStarted
store = Store(Path(sys.argv[1]))
for _ in range(20):
    store.create([TurnStarted(turn=1)]).close()
    store.sessions()
"""


def test_many_processes_may_create_and_list_at_once(store: Store) -> None:
    running = [subprocess.Popen([sys.executable, "-c", _CREATE, store.root]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(store.sessions()) == 60
    assert {path.name for path in store.root.iterdir() if path.is_file()} == {"index.json"}


_OPEN = """\
import resource, sys
from pathlib import Path
from kimi_code.session.store import Store
store = Store(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
session = store.open(sys.argv[2])
print(len(session.log.records), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_m15_a_long_session_is_read_without_holding_its_file(store: Store) -> None:
    content = "def total(self) -> int:\n" * 500
    results = [CallFinished(id=f"c{n}", name="Read", status="ok", content=content) for n in range(3000)]
    name = _closed(store, list(results))
    size = (store.root / name / "main.jsonl").stat().st_size
    ran = subprocess.run(
        [sys.executable, "-c", _OPEN, store.root, name], capture_output=True, text=True, check=True
    )
    count, grown_kb = map(int, ran.stdout.split())
    assert count == 3001
    # The texts themselves, and blocks of some megabytes; with the file beside them it would be twice as much.
    assert grown_kb * 1024 < 1.6 * size
