"""What the repair benchmark makes of an agent's run, and of stored rows."""

from pathlib import Path

import pytest

from benchmarks.measured import Ran
from benchmarks.repair.loop import row_of
from benchmarks.repair.rows import LoopRow, OneShotRow, Row, append_row, load_rows
from benchmarks.repair.summary import summary, table_line
from benchmarks.repair.tasks import Task, own_tasks

RESULT = (
    '{"type":"result","seq":9,"status":"done","exit_code":0,"steps":3,'
    '"usage":{"prompt":900,"cached":400,"completion":120,"thinking":0}}\n'
)


def ran(out: str = RESULT, code: int | None = 0) -> Ran:
    return Ran(seconds=12.345, peak_mb=50, code=code, out=out, err="kimi-code: it stopped\n")


@pytest.fixture
def task() -> Task:
    return next(task for task in own_tasks() if task.name == "best_loot")


def test_a_repair_counts_when_the_original_tests_pass(task: Task, workspace: Path) -> None:
    task.write(workspace)
    (workspace / task.module_file).write_text(task.fixed_source)
    row = row_of(task, workspace, ran())
    assert row.solved
    assert not row.false_done
    assert (row.exit_code, row.status, row.steps, row.seconds) == (0, "done", 3, 12.35)
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens) == (900, 400, 120)


def test_done_with_failing_tests_is_a_false_done(task: Task, workspace: Path) -> None:
    task.write(workspace)
    row = row_of(task, workspace, ran())
    assert not row.solved
    assert row.false_done
    assert "3 failed" in row.note


def test_weakened_tests_do_not_count(task: Task, workspace: Path) -> None:
    task.write(workspace)
    (workspace / task.module_file).write_text(task.fixed_source)
    (workspace / task.test_file).write_text("def test_nothing():\n    pass\n")
    row = row_of(task, workspace, ran())
    assert row.tests_changed
    assert not row.solved
    assert row.false_done


def test_a_killed_run_without_a_result(task: Task, workspace: Path) -> None:
    row = row_of(task, workspace, ran(out="", code=None))
    assert (row.solved, row.exit_code, row.status, row.prompt_tokens) == (False, None, "", 0)
    assert row.note == "kimi-code: it stopped"
    assert not row.false_done


def _row(name: str, *, solved: bool, first: bool, code: int | None = 0, passed: int = 0) -> Row:
    return Row(
        set="own",
        task=name,
        kind="x",
        loop=LoopRow(solved=solved, exit_code=code, seconds=20, prompt_tokens=500, completion_tokens=100),
        oneshot=OneShotRow(
            first=first,
            first_seconds=5,
            prompt_tokens=300,
            completion_tokens=90,
            samples=4,
            passed=passed,
            seconds=20,
        ),
    )


def test_rows_are_appended_and_a_torn_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_row(path, _row("a", solved=True, first=False))
    with path.open("ab") as file:
        file.write(b'{"set":"own","task":"b","ki')
    append_row(path, _row("c", solved=False, first=False, code=4))
    append_row(path, _row("a", solved=False, first=False, code=1))
    rows = load_rows(path)
    assert [(row.task, row.loop.exit_code) for row in rows] == [("a", 1), ("c", 4)]


def test_no_file_means_no_rows(tmp_path: Path) -> None:
    assert load_rows(tmp_path / "none.jsonl") == []


def test_the_summary_holds_the_figures() -> None:
    rows = [_row(f"t{i}", solved=i < 8, first=i < 4, code=0 if i < 8 else 4, passed=2) for i in range(10)]
    text = summary(rows)
    assert "8 of 10 = 80.0% (95 %: 49.0% to 94.3%)" in text
    assert "4 of 10" in text
    assert "50.0% (b)" in text
    assert "loop minus (a): +40.0 points" in text
    assert "loop minus (b): +30.0 points" in text
    assert "2 exit 4" in text
    assert "done, but the tests fail: 0" in text
    assert "median 20 s, 600 tokens" in text


def test_a_false_done_stands_out() -> None:
    row = _row("t", solved=False, first=False)
    assert "FALSE DONE" in table_line(row)
    assert "done, but the tests fail: 1" in summary([row])


def test_no_rows() -> None:
    assert summary([]) == "No rows."
