"""Faults of processes, with and without the box: floods, hangs, orphans, exit codes."""

import asyncio
import contextlib
import os
import resource

import pytest

from kimi_tools.box import BASH, Unboxed
from kimi_tools.capture import LIVE_BYTES, Capture
from kimi_tools.runner import run


def shell(box, workspace, command):
    return box.launch((BASH, "-c", command), cwd=workspace)


async def test_o01_a_flood_is_bounded_and_counted(any_box, workspace, tmp_path):
    size = 150_000_000
    spill = tmp_path / "spill" / "out.txt"
    chunks: list[str] = []
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    command = f"echo first; yes | head -c {size}; echo last"
    ran = await run(shell(any_box, workspace, command), spill=spill, live=chunks.append)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ticking.cancel()
    assert ran.exit_code == 0
    assert ran.output.total == size + len("first\nlast\n")
    assert ran.output.head.startswith("first\ny\n")
    assert ran.output.tail.endswith("y\nlast\n")
    assert len(ran.output.text()) < 33_000
    assert f"{size + 11:,}" in ran.output.text()
    assert ran.output.spill == spill
    assert spill.stat().st_size == 20_000_000
    assert spill.stat().st_mode & 0o777 == 0o600
    assert grown < 64_000, "KiB"
    assert ticks > 3, "the loop stood still"
    assert max(map(len, chunks)) <= LIVE_BYTES


@pytest.mark.parametrize(
    "command", ["sleep 1000", "trap '' TERM INT HUP; while :; do sleep 1000; done", "yes >/dev/null"]
)
async def test_o03_the_time_limit_ends_the_tree(any_box, workspace, processes, command):
    mark = f"kimi-o03-{os.getpid()}"
    async with asyncio.timeout(20):
        ran = await run(shell(any_box, workspace, f": {mark}; echo begun; {command}"), timeout_s=0.7)
    assert ran.timed_out
    assert ran.exit_code == 124
    assert ran.output.text() == "begun\n"
    assert processes(mark) == []


@pytest.mark.parametrize(
    "child",
    [
        "sleep {0} &",
        "nohup sleep {0} >/dev/null 2>&1 &",
        "setsid -f sleep {0} >/dev/null 2>&1 </dev/null;",
        "env -i setsid sleep {0} &",
    ],
)
async def test_o05_a_background_child_neither_holds_the_call_nor_outlives_it(
    any_box, workspace, processes, child
):
    mark = f"1000.{os.getpid()}"
    async with asyncio.timeout(20):
        ran = await run(shell(any_box, workspace, f"{child.format(mark)} echo done; sleep 0.2"))
    assert ran.exit_code == 0
    assert ran.output.text() == "done\n"
    for _ in range(20):
        if not processes(mark):
            break
        await asyncio.sleep(0.05)
    assert processes(mark) == []


async def test_cancelling_ends_the_tree(any_box, workspace, processes):
    mark = f"1001.{os.getpid()}"
    begun = asyncio.Event()
    command = f"sleep {mark} & setsid sleep {mark} & echo begun; sleep {mark}"
    task = asyncio.create_task(run(shell(any_box, workspace, command), live=lambda _: begun.set()))
    async with asyncio.timeout(20):
        await begun.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert task.cancelled()
    for _ in range(20):
        if not processes(mark):
            break
        await asyncio.sleep(0.05)
    assert processes(mark) == []


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit 1", 1),
        ("exit 77", 77),
        ("exit 255", 255),
        ("./a.txt", 126),
        ("no-such-program", 127),
        ("kill -9 $$", 137),
        ("kill -11 $$", 139),
        ("kill -TERM $$", 143),
        ("(kill -9 $BASHPID)", 137),
        ("true", 0),
    ],
)
async def test_o13_exit_codes_are_reported_exactly(any_box, workspace, command, code):
    (workspace / "a.txt").write_text("x")
    assert (await run(shell(any_box, workspace, command))).exit_code == code


@pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("./a.txt", 126)])
async def test_o13_programs_that_cannot_start(any_box, workspace, program, code):
    (workspace / "a.txt").write_text("x")
    ran = await run(any_box.launch((program,), cwd=workspace))
    assert ran.exit_code == code
    assert program.removeprefix("./") in ran.output.text()


async def test_live_output_comes_before_the_end(any_box, workspace):
    chunks: list[str] = []
    seen = asyncio.Event()

    def live(chunk: str) -> None:
        chunks.append(chunk)
        seen.set()

    command = "echo first; while ! test -e go; do sleep 0.02; done; echo second"
    task = asyncio.create_task(run(shell(any_box, workspace, command), live=live, timeout_s=20))
    async with asyncio.timeout(20):
        await seen.wait()
        assert not task.done()
        (workspace / "go").touch()
        ran = await task
    assert "".join(chunks) == ran.output.text() == "first\nsecond\n"


async def test_outside_the_box_a_program_may_tidy_up_when_its_time_is_over(rules, workspace):
    command = "trap 'touch tidy; exit' TERM; echo up; while :; do sleep 0.05; done"
    ran = await run(shell(Unboxed(rules), workspace, command), timeout_s=0.5)
    assert ran.timed_out
    assert (workspace / "tidy").exists()


async def test_many_at_once(any_box, workspace):
    async with asyncio.timeout(60):
        all_of_them = await asyncio.gather(*(run(shell(any_box, workspace, f"echo {n}")) for n in range(12)))
    assert [ran.output.text() for ran in all_of_them] == [f"{n}\n" for n in range(12)]
    assert list(workspace.iterdir()) == []


def test_nothing_is_clipped_that_fits():
    capture = Capture(None, head=4, tail=4)
    for part in (b"ab", b"cdef", b"gh"):
        capture.add(part)
    assert capture.close().text() == "abcdefgh"


def test_a_clipped_output_keeps_whole_characters():
    capture = Capture(None, head=5, tail=5)
    capture.add("äöü".encode() * 10)
    output = capture.close()
    assert output.head == "äö"
    assert "\ufffd" not in output.tail
    assert output.total == 60


def test_the_spill_has_all_of_it(tmp_path):
    capture = Capture(tmp_path / "a" / "out", head=4, tail=4, limit=100)
    for number in range(10):
        capture.add(b"%d" % number * 3)
    output = capture.close()
    assert output.spill is not None
    assert output.spill.read_bytes() == b"000111222333444555666777888999"
    assert (output.head, output.tail) == ("0001", "8999")


def test_a_spill_that_cannot_be_written_costs_nothing_else(tmp_path):
    (tmp_path / "file").touch()
    capture = Capture(tmp_path / "file" / "out", head=4, tail=4)
    capture.add(b"x" * 100)
    output = capture.close()
    assert output.spill is None
    assert output.total == 100
