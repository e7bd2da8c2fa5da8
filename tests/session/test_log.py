"""The log: one writer, whole lines, torn tails set aside, nothing lost between."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kimi_code.errors import StorageFailure, UsageError
from kimi_code.events import AssistantDelta, CallRequested, ErrorRaised, TurnStarted, UserMessage
from kimi_code.session.codec import Record, UnknownFact
from kimi_code.session.log import SessionLog
from kimi_code.session.scan import scan_bytes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "s1"
    folder.mkdir()
    return folder / "main.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[SessionLog]:
    log = SessionLog.create(path, session="s1")
    yield log
    log.close()


def _texts(log: SessionLog) -> list[str]:
    return [record.event.text for record in log.records if isinstance(record.event, UserMessage)]


def _write(path: Path, count: int) -> bytes:
    log = SessionLog.create(path, session="s1")
    for number in range(count):
        log.append(UserMessage(text=f"message {number} – ü"))
    log.close()
    return path.read_bytes()


def test_a_fact_is_one_line_and_seq_is_its_position(log: SessionLog) -> None:
    records = [log.append(UserMessage(text=text)) for text in ("a", "b\nc", "")]
    lines = log.path.read_bytes().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["a", "b\nc", ""]
    assert [record.seq for record in records] == [json.loads(line)["seq"] for line in lines] == [0, 1, 2]
    assert log.records == records
    assert {(record.session, record.agent) for record in records} == {("s1", "main")}


def test_what_was_written_is_read_again(path: Path, log: SessionLog) -> None:
    log.append(UserMessage(text="a"))
    log.append(TurnStarted(turn=1))
    log.close()
    again = SessionLog.open(path)
    assert again.records == log.records
    assert again.append(UserMessage(text="b")).seq == 2
    again.close()


def test_create_refuses_a_log_that_is_there_and_open_one_that_is_not(path: Path, log: SessionLog) -> None:
    with pytest.raises(StorageFailure, match="cannot be used"):
        SessionLog.create(path, session="s1")
    with pytest.raises(StorageFailure, match="No such file"):
        SessionLog.open(path.with_name("other.jsonl"))


def test_m03_cut_at_every_byte_of_the_last_three_records_then_append(tmp_path: Path) -> None:
    data = _write(tmp_path / "whole.jsonl", 6)
    ends = [end + 1 for end, byte in enumerate(data) if byte == 0x0A]
    for cut in range(ends[2], len(data)):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        path = folder / "main.jsonl"
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        log = SessionLog.open(path)
        assert len(log.records) == whole
        assert log.append(UserMessage(text="new")).seq == whole
        log.close()
        tail = data[ends[whole - 1] : cut]
        torn = folder / "main.jsonl.torn-1"
        assert (torn.read_bytes() if tail else torn.exists()) == (tail or False)
        assert path.read_bytes()[: ends[whole - 1]] == data[: ends[whole - 1]]
        again = SessionLog.open(path)
        assert _texts(again) == [*(f"message {n} – ü" for n in range(whole)), "new"]
        again.close()


@pytest.mark.parametrize(
    "tail",
    [
        b"\x00",
        b"\x00" * 5000,
        b"\x00" * 5000 + b"\n",
        b"\n",
        b"\n\n\n",
        b"not json\n",
        b'{"type":"turn.started"\n',
        b'{"type":"user.message","seq":3,"time":1.0,"session":"s1","agent":"main","text":"no line feed"}',
        b"\xff\xfe\n\x00\x00",
    ],
)
def test_m03_any_tail_that_is_no_record_is_set_aside(path: Path, tail: bytes) -> None:
    data = _write(path, 3)
    path.write_bytes(data + tail)
    log = SessionLog.open(path)
    assert len(log.records) == 3
    log.append(UserMessage(text="new"))
    log.close()
    assert path.with_name("main.jsonl.torn-1").read_bytes() == tail
    assert scan_bytes(path.read_bytes()).problems() == []


def test_tails_torn_later_go_to_further_files(path: Path) -> None:
    _write(path, 1)
    for number in range(1, 4):
        with path.open("ab") as file:
            file.write(b"torn %d" % number)
        SessionLog.open(path).close()
    assert [path.with_name(f"main.jsonl.torn-{n}").read_bytes() for n in (1, 2, 3)] == [
        b"torn 1",
        b"torn 2",
        b"torn 3",
    ]
    assert (path.with_name("main.jsonl.torn-1").stat().st_mode & 0o777) == 0o600


def test_nul_bytes_at_every_place_never_lose_the_other_records(path: Path) -> None:
    data = _write(path, 4)
    for position in range(0, len(data), 7):
        broken = data[:position] + b"\x00" * 5 + data[position + 5 :]
        found = scan_bytes(broken)
        whole = [n for n in range(4) if f"message {n} – ü".encode() in broken]
        kept = [record.event.text[8:9] for record in found.records if isinstance(record.event, UserMessage)]
        # At most the line that was hit, and the one that a lost line feed joined to it, are gone.
        assert len(kept) >= 2
        assert set(kept) <= {str(n) for n in whole}
        assert found.problems() or found.torn_bytes


def test_a_damaged_line_in_the_middle_stays_where_it_is_and_is_told(path: Path) -> None:
    lines = _write(path, 5).splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"type"', b'"typo"')
    path.write_bytes(b"".join(lines))
    log = SessionLog.open(path)
    assert [record.seq for record in log.records] == [0, 1, 3, 4]
    assert log.append(UserMessage(text="new")).seq == 5
    log.close()
    assert path.read_bytes().splitlines(keepends=True)[:5] == lines
    found = scan_bytes(path.read_bytes())
    assert found.damaged == [3]
    assert found.problems() == ["line 3 is damaged", "record 2 is missing"]


@pytest.mark.parametrize("harm", [b"\x00", b"\xff", b"\x01"])
def test_a_last_record_that_was_damaged_is_not_taken_for_a_torn_tail(path: Path, harm: bytes) -> None:
    """Its line is whole, so it was acknowledged: it stays where it is, and its seq is not given again."""
    data = _write(path, 3)
    broken = data[:-60] + harm + data[-59:]
    path.write_bytes(broken)
    assert scan_bytes(broken).problems() == ["line 3 is damaged"]
    log = SessionLog.open(path)
    assert [record.seq for record in log.records] == [0, 1]
    assert log.append(UserMessage(text="new")).seq == 3
    log.close()
    assert path.read_bytes().startswith(broken)
    assert os.listdir(path.parent) == ["main.jsonl"]
    assert scan_bytes(path.read_bytes()).problems() == ["line 3 is damaged", "record 2 is missing"]


def test_gaps_and_repetitions_of_seq_are_told(path: Path) -> None:
    lines = _write(path, 6).splitlines(keepends=True)
    assert scan_bytes(b"".join(lines[:1] + lines[4:])).problems() == ["records 1 to 3 are missing"]
    assert scan_bytes(b"".join([*lines[:3], lines[1]])).problems() == ["record 1 stands after record 2"]
    assert scan_bytes(b"".join(lines)).problems() == []


def test_m13_facts_of_a_newer_version_stay_where_they_are(path: Path) -> None:
    data = _write(path, 2)
    newer = (
        b'{"type":"dream.started","seq":2,"time":1.0,"session":"s1","agent":"main","depth":3}\n'
        b'{"type":"turn.ended","seq":3,"time":1.0,"session":"s1","agent":"main","turn":1,"reason":"bored"}\n'
    )
    path.write_bytes(data + newer)
    log = SessionLog.open(path)
    assert [type(record.event) for record in log.records[2:]] == [UnknownFact, UnknownFact]
    assert log.append(UserMessage(text="new")).seq == 4
    log.close()
    assert path.read_bytes().startswith(data + newer)
    assert len(scan_bytes(path.read_bytes()).problems()) == 1


def test_m16_a_clock_set_back_does_not_change_the_order(path: Path) -> None:
    log = SessionLog.create(path, session="s1")
    log.append(UserMessage(text="a"))
    log.close()
    record = json.loads(path.read_bytes())
    path.write_bytes(json.dumps({**record, "time": time.time() + 7200}).encode() + b"\n")
    log = SessionLog.open(path)
    log.append(UserMessage(text="b"))
    log.close()
    again = SessionLog.open(path)
    assert [record.seq for record in again.records] == [0, 1]
    assert again.records[0].time > again.records[1].time
    assert _texts(again) == ["a", "b"]
    again.close()


_OPEN = """\
import sys
from pathlib import Path
from kimi_code.errors import UsageError
from kimi_code.session.log import SessionLog
try:
    SessionLog.open(Path(sys.argv[1]))
except UsageError as error:
    print(error.message, error.hint)
    sys.exit(error.exit_code)
"""


def test_m10_a_second_process_is_refused_and_told_who_has_it(path: Path, log: SessionLog) -> None:
    log.append(UserMessage(text="a"))
    before = path.read_bytes()
    ran = subprocess.run([sys.executable, "-c", _OPEN, path], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert f"process {os.getpid()}" in ran.stdout
    assert "--fork s1" in ran.stdout
    assert path.read_bytes() == before
    log.close()
    ran = subprocess.run([sys.executable, "-c", _OPEN, path], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_m10_the_same_process_is_refused_too(path: Path, log: SessionLog) -> None:
    with pytest.raises(UsageError, match="open in another"):
        SessionLog.open(path)
    log.append(UserMessage(text="still mine"))
    assert _texts(log) == ["still mine"]


def test_a_log_removed_while_it_was_awaited_is_not_written(path: Path) -> None:
    _write(path, 1)
    descriptor = os.open(path, os.O_RDWR)
    path.unlink()
    late = Path(f"/proc/self/fd/{descriptor}")
    with pytest.raises(UsageError, match="removed"):
        SessionLog.open(late)
    os.close(descriptor)


def test_a_closed_log_says_so(log: SessionLog) -> None:
    log.close()
    with pytest.raises(StorageFailure, match="closed"):
        log.append(UserMessage(text="a"))
    log.close()


def test_what_is_no_unicode_is_stored_as_what_can_be_read_again(path: Path, log: SessionLog) -> None:
    told: list[Record] = []
    log.listen(told.append)
    record = log.append(CallRequested(id="c", name="Read", arguments={"path": "a\udcff.py"}))
    assert record.event == CallRequested(id="c", name="Read", arguments={"path": "a\ufffd.py"})
    log.close()
    again = SessionLog.open(path)
    assert again.records == log.records == told
    again.close()


def test_listeners_hear_of_what_is_written_in_order(path: Path, log: SessionLog) -> None:
    heard: list[tuple[str, int, int]] = []

    def first(record: Record) -> None:
        heard.append(("first", record.seq, path.read_bytes().count(b"\n")))
        if isinstance(record.event, TurnStarted):
            log.append(UserMessage(text="in between"))

    log.listen(first)
    stop = log.listen(lambda record: heard.append(("second", record.seq, 0)))
    log.append(TurnStarted(turn=1))
    assert heard == [("first", 0, 1), ("second", 0, 0), ("first", 1, 2), ("second", 1, 0)]
    stop()
    stop()
    log.append(UserMessage(text="b"))
    assert heard[4:] == [("first", 2, 3)]


def test_a_listener_that_fails_does_not_keep_a_record_from_the_others(log: SessionLog) -> None:
    heard: list[int] = []

    def fails(record: Record) -> None:
        raise ValueError(record.seq)

    stop = log.listen(fails)
    log.listen(lambda record: heard.append(record.seq))
    with pytest.raises(ValueError, match="0"):
        log.append(UserMessage(text="a"))
    stop()
    log.append(UserMessage(text="b"))
    assert heard == [0, 1]
    assert _texts(log) == ["a", "b"]


def test_a_signal_is_told_and_not_written(log: SessionLog) -> None:
    told: list[Record] = []
    log.listen(told.append)
    log.append(UserMessage(text="a"))
    log.append(UserMessage(text="b"))
    before = log.path.read_bytes()
    record = log.signal(AssistantDelta(text="x"))
    assert record.seq == 1
    assert told[-1] is record
    assert log.path.read_bytes() == before
    assert log.append(UserMessage(text="c")).seq == 2


async def test_following_replays_then_goes_on_and_a_slow_reader_misses_nothing(log: SessionLog) -> None:
    for number in range(3):
        log.append(UserMessage(text=str(number)))
    seen: list[int] = []

    async def read() -> None:
        async for record in log.follow(1):
            seen.append(record.seq)
            await asyncio.sleep(0.001)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(read())
        for number in range(3, 60):
            log.append(UserMessage(text=str(number)))
            log.signal(AssistantDelta(text="x"))
            if number % 10 == 0:
                await asyncio.sleep(0.005)
        while len(seen) < 59:
            await asyncio.sleep(0.005)
        log.close()
    assert seen == list(range(1, 60))


async def test_a_reader_follows_again_from_where_it_was(log: SessionLog) -> None:
    for number in range(10):
        log.append(ErrorRaised(code="x", message=str(number)))
    seen: list[int] = []
    while len(seen) < 10:
        async for record in log.follow(seen[-1] + 1 if seen else 0):
            seen.append(record.seq)
            if len(seen) % 3 == 0:
                break
        if len(seen) == 9:
            log.close()
    assert seen == list(range(10))


def test_a_long_tail_without_a_line_feed_is_copied_whole(path: Path) -> None:
    _write(path, 1)
    tail = bytes(range(1, 10)) * 1_000_000
    with path.open("ab") as file:
        file.write(tail)
    SessionLog.open(path).close()
    assert path.with_name("main.jsonl.torn-1").read_bytes() == tail
